//! How evidence and summaries are written down, under names that stay.
