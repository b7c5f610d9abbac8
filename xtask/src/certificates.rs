//! Certificates for trying TLS: an authority, and one certificate for each role. For a
//! laptop; a cluster has cert-manager.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};

const ROLES: [&str; 4] = ["host", "engine", "operator", "observer"];

/// How long they last: no longer than a trial.
const THIRTY_DAYS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Writes all of them into a folder that is new or empty.
pub(crate) fn write(folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("{} cannot be made", folder.display()))?;
    ensure!(fs::read_dir(folder)?.next().is_none(), "{} is not empty", folder.display());
    let mut params = lasting(CertificateParams::default());
    params.distinguished_name.push(DnType::CommonName, "Guildhall on a laptop");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    fs::write(folder.join("ca.crt"), authority.pem())?;
    for role in ROLES {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        let mut params = lasting(CertificateParams::new(names)?);
        params.distinguished_name.push(DnType::CommonName, role);
        let uri = format!("spiffe://guildhall/{role}");
        params.subject_alt_names.push(SanType::URI(uri.try_into()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &authority)?;
        fs::write(folder.join(format!("{role}.crt")), certificate.pem())?;
        let file = folder.join(format!("{role}.key"));
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
        file.write_all(key.serialize_pem().as_bytes())?;
    }
    println!("{}: ca.crt, and .crt and .key of {}", folder.display(), ROLES.join(", "));
    Ok(())
}

fn lasting(mut params: CertificateParams) -> CertificateParams {
    params.not_before = SystemTime::now().into();
    params.not_after = params.not_before + THIRTY_DAYS;
    params
}
