//! Fuzz properties.
