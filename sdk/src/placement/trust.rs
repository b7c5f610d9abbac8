//! Which policies an operator trusts.

use std::{fmt, path::Path};

use ed25519_dalek::{Signature, VerifyingKey, pkcs8::DecodePublicKey};

use super::{artifact::PolicyArtifact, digest::Sha256Digest, error::LoadError};

/// Which policies may decide. The default trusts every one: a policy can do no harm but
/// to decide badly. The policies of the SDK are always trusted, for they are part of the
/// program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// When not empty, only components with one of these digests.
    pub pinned: Vec<Sha256Digest>,
    /// When not empty, only components that one of these keys has signed.
    pub keys: Vec<PublicKey>,
}

impl Trust {
    /// Whether a policy may decide.
    ///
    /// # Errors
    /// [`LoadError::Untrusted`] says why not.
    pub fn check(&self, policy: &PolicyArtifact) -> Result<(), LoadError> {
        let refuse = |reason| Err(LoadError::Untrusted { policy: policy.identity().to_string(), reason });
        if policy.built_in().is_some() {
            return Ok(());
        }
        if !self.pinned.is_empty() && !self.pinned.contains(&Sha256Digest::of(&policy.component)) {
            return refuse("its SHA-256 is not one of those that are pinned");
        }
        if self.keys.is_empty() {
            return Ok(());
        }
        let Some(signature) = &policy.signature else {
            return refuse("it is not signed, and keys are set");
        };
        let Ok(signature) = Signature::from_slice(signature) else {
            return refuse("its signature does not have the 64 bytes of an ed25519 signature");
        };
        match self.keys.iter().any(|key| key.0.verify_strict(&policy.component, &signature).is_ok()) {
            true => Ok(()),
            false => refuse("none of the keys that are set has signed it"),
        }
    }
}

/// An ed25519 public key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey(VerifyingKey);

/// Text or a file that is not an ed25519 public key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidKey {
    /// The file cannot be read.
    #[error("the key cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not a key.
    #[error("it is not an ed25519 public key in PEM, as `openssl pkey -pubout` writes it: {0}")]
    NotAKey(#[from] ed25519_dalek::pkcs8::spki::Error),
}

impl PublicKey {
    /// Reads a key from PEM, which begins with `-----BEGIN PUBLIC KEY-----`.
    ///
    /// # Errors
    /// [`InvalidKey::NotAKey`].
    pub fn from_pem(pem: &str) -> Result<Self, InvalidKey> {
        Ok(Self(VerifyingKey::from_public_key_pem(pem.trim())?))
    }

    /// Reads a key from a file with PEM.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn read(path: impl AsRef<Path>) -> Result<Self, InvalidKey> {
        Self::from_pem(&std::fs::read_to_string(path)?)
    }
}

/// Shows the key's digest alone, as short as people compare it.
impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({:.12})", Sha256Digest::of(self.0.as_bytes()))
    }
}
