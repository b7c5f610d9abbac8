//! Which policies an operator trusts.

use ed25519_dalek::{
    Signer, SigningKey,
    pkcs8::{EncodePublicKey, spki::der::pem::LineEnding},
};
use guildhall::placement::{BuiltIn, PolicyArtifact, PublicKey, Sha256Digest, Trust};

use crate::{artifact, made};

fn key(seed: u8) -> (SigningKey, PublicKey) {
    let secret = SigningKey::from_bytes(&[seed; 32]);
    let pem = secret.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
    (secret, PublicKey::from_pem(&pem).unwrap())
}

fn signed(by: &SigningKey) -> PolicyArtifact {
    let mut policy = artifact("mine", made::Policy::default().component());
    policy.signature = Some(by.sign(&policy.component).to_vec());
    policy
}

#[test]
fn unless_told_everything_is_trusted() {
    Trust::default().check(&artifact("mine", b"whatever")).unwrap();
}

#[test]
fn with_pins_only_what_is_pinned() {
    let mine = artifact("mine", made::Policy::default().component());
    let trust = |digest| Trust { pinned: vec![digest], ..Trust::default() };
    trust(Sha256Digest::of(&mine.component)).check(&mine).unwrap();
    let error = trust(Sha256Digest::of(b"another")).check(&mine).unwrap_err().to_string();
    let wanted =
        format!("policy {} is not trusted: its SHA-256 is not one of those that are pinned", mine.identity());
    assert_eq!(error, wanted);
    // What the SDK brings along is part of the program.
    trust(Sha256Digest::of(b"another")).check(&BuiltIn::RoundRobin.into()).unwrap();
}

#[test]
fn with_keys_only_what_one_of_them_has_signed() {
    let ((ours, first), (theirs, second), (_, third)) = (key(1), key(2), key(3));
    let trust = Trust { keys: vec![first, second], ..Trust::default() };
    trust.check(&signed(&ours)).unwrap();
    trust.check(&signed(&theirs)).unwrap();
    trust.check(&BuiltIn::LeastLoaded.into()).unwrap();

    let reason = |trust: &Trust, policy: &PolicyArtifact| {
        let error = trust.check(policy).unwrap_err().to_string();
        error.split_once("is not trusted: ").unwrap().1.to_owned()
    };
    let nobody = Trust { keys: vec![third], ..Trust::default() };
    assert_eq!(reason(&nobody, &signed(&ours)), "none of the keys that are set has signed it");
    let mut policy = signed(&ours);
    policy.component = b"another".to_vec().into();
    assert_eq!(reason(&trust, &policy), "none of the keys that are set has signed it");
    policy.signature = Some(b"short".to_vec());
    assert_eq!(reason(&trust, &policy), "its signature does not have the 64 bytes of an ed25519 signature");
    policy.signature = None;
    assert_eq!(reason(&trust, &policy), "it is not signed, and keys are set");
}

/// Made with `openssl genpkey -algorithm ed25519` and `openssl pkeyutl -sign -rawin`.
#[test]
fn keys_and_signatures_are_those_of_openssl() {
    let pem = include_str!("openssl/key.pem");
    let mut policy = artifact("mine", include_bytes!("openssl/signed").to_vec());
    policy.signature = Some(include_bytes!("openssl/signed.sig").to_vec());
    let trust = Trust { keys: vec![PublicKey::from_pem(pem).unwrap()], ..Trust::default() };
    trust.check(&policy).unwrap();
}

#[test]
fn what_is_no_key_is_told() {
    for text in ["", "ssh-ed25519 AAAA", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"] {
        let error = PublicKey::from_pem(text).unwrap_err().to_string();
        assert!(error.starts_with("it is not an ed25519 public key in PEM"), "{error}");
    }
    assert!(PublicKey::read("no-such-file").unwrap_err().to_string().contains("No such file"));
}
