//! Setting up: what a folder holds, the `muster.yaml` that describes it, the key and the repository.
//!
//! ```text
//! folder ─► discover (compose, servers) ─► Found ─► document ─► text of muster.yaml
//!                                                                  │ accepted by our own loader
//!                               key file ─► repository ─► muster.yaml  (make: in this order)
//! ```
//!
//! A folder comes in; a value that says what is there, and then at most three new things leave. What is found is only
//! looked at: names, the first bytes of files, an answer on a local port.
//!
//! It never changes or replaces anything that is there, and never writes outside the places that were named.
//! Read next: `init/discover.rs`, then `init/document.rs`, then `init/make.rs`.

pub mod clusters;
pub mod compose;
pub mod discover;
pub mod document;
pub mod foresee;
pub mod make;
pub mod servers;
