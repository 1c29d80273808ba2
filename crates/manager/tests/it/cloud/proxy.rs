//! Between the store and its client: passes requests on, or spoils them.

pub use tapster_cloud::testing::{Fate, Proxy};
