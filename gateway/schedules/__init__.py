"""Runs of backup policies that did not come."""
