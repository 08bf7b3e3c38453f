//! Metrics as a collector gets them: right to the last request, whatever happens to workers.

mod exact;
mod scrape;
mod states;
