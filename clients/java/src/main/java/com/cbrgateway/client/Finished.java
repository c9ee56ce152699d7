package com.cbrgateway.client;

/**
 * A change whose work has ended well.
 *
 * @param answer what the change was answered
 * @param ended what has ended
 */
public record Finished<A>(A answer, Ended ended) {}
