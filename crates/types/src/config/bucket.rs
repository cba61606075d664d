//! What the bucket of a repository, or of a copy of it, is meant to be like.
//!
//! In: the keys below `bucket:`. Out: a value that is compared with what the server says.
//!
//! Nothing here changes a bucket. Read next: `crates/types/src/bucket.rs`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a bucket is declared to be. What is not named is not looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bucket {
    /// Whether it keeps what is replaced or removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub versioning: Option<bool>,
    /// How it encrypts what is put into it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<BucketEncryption>,
    /// Whether what is put into it can be neither replaced nor removed for some time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_lock: Option<bool>,
    /// The storage class of packs of 128 KiB and more, such as `STANDARD_IA`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage_class: Option<String>,
}

/// How a bucket encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum BucketEncryption {
    /// With keys that the storage keeps itself.
    #[serde(rename = "AES256")]
    Aes256,
    /// With keys of a key service.
    #[serde(rename = "aws:kms")]
    Kms,
}

impl BucketEncryption {
    /// Returns the word of the configuration and of the server.
    pub fn word(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::Kms => "aws:kms",
        }
    }
}
