//! Lint: what it finds in documents, and what it leaves alone.
//!
//! Documents of this folder are made for these tests. Where the folder `../shared` lies beside the repository, five
//! documents of real teams and a list of their faults are tried too.

#![allow(
    clippy::panic,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may fail loudly and say what it left out"
)]

#[path = "lint/alike.rs"]
mod alike;
#[path = "lint/documents.rs"]
mod documents;
#[path = "lint/faults.rs"]
mod faults;
#[path = "lint/pages.rs"]
mod pages;
