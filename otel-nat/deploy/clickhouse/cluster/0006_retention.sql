-- Generated from the file of this name in the folder above, by generate.py.
-- Attempts are kept for 30 days, their daily sums for two years. A day ends as a whole: no row is rewritten for it.
ALTER TABLE otel_traces_local ON CLUSTER '{cluster}' MODIFY TTL toDate(Timestamp) + INTERVAL 30 DAY;
