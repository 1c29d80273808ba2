//! Input makers for the benches.
