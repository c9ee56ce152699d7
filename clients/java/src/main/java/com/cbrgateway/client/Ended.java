package com.cbrgateway.client;

import com.cbrgateway.v1.SkippedResource;
import com.cbrgateway.v1.Task;
import java.util.List;

/**
 * Work that has ended well.
 *
 * @param tasks those that have succeeded, in the order of their ends
 * @param skipped resources that CBR left out of the work, with code and reason
 */
public record Ended(List<Task> tasks, List<SkippedResource> skipped) {}
