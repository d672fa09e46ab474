//! Wrong and expiring files, and the messages about them. The exact text matters: people act on it.

mod handshakes;

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::symm::Cipher;
use openssl::x509::extension::SubjectAlternativeName;
use openssl::x509::{X509, X509NameBuilder, X509Req};
use tempfile::TempDir;

use crate::{CertificateFiles, TlsIdentity};

/// Seconds of a day.
const DAY: u64 = 24 * 60 * 60;

/// The validity of all test certificates, in seconds since 1970: 2000 to 2099.
const BEGIN: u64 = 946_684_800;
const END: u64 = 4_102_444_800;

/// Returns a time long before the end of the test certificates.
fn long_before() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(END - 100 * DAY)
}

fn ec_key(curve: Nid) -> PKey<Private> {
    let group = EcGroup::from_curve_name(curve).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// Issues a certificate for the DNS name `name`, signed by `issuer` or by itself.
fn issue(name: &str, key: &PKey<Private>, issuer: Option<(&X509, &PKey<Private>)>) -> X509 {
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut certificate = X509::builder().unwrap();
    certificate.set_version(2).unwrap();
    let serial = BigNum::from_u32(7).unwrap().to_asn1_integer().unwrap();
    certificate.set_serial_number(&serial).unwrap();
    certificate.set_subject_name(&subject).unwrap();
    let by = issuer.map_or(&*subject, |(issuer, _)| issuer.subject_name());
    certificate.set_issuer_name(by).unwrap();
    let time = |seconds: u64| Asn1Time::from_unix(i64::try_from(seconds).unwrap()).unwrap();
    certificate.set_not_before(&time(BEGIN)).unwrap();
    certificate.set_not_after(&time(END)).unwrap();
    certificate.set_pubkey(key).unwrap();
    let context = certificate.x509v3_context(None, None);
    let names = SubjectAlternativeName::new()
        .dns(name)
        .build(&context)
        .unwrap();
    certificate.append_extension(names).unwrap();
    certificate
        .sign(issuer.map_or(key, |(_, key)| key), MessageDigest::sha256())
        .unwrap();
    certificate.build()
}

/// A folder with the files of a certificate.
struct Files {
    folder: TempDir,
}

impl Files {
    fn new(certificate: &[u8], key: &[u8]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("cert.pem"), certificate).unwrap();
        fs::write(folder.path().join("key.pem"), key).unwrap();
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn identity(&self) -> TlsIdentity {
        TlsIdentity::files(self.path("cert.pem"), self.path("key.pem"))
    }

    /// Returns the warnings or errors of an identity, without the folder in the paths.
    fn said(&self, identity: &TlsIdentity, now: SystemTime) -> Vec<String> {
        let said = identity
            .check(now)
            .unwrap_or_else(|errors| errors.iter().map(ToString::to_string).collect());
        let folder = format!("{}/", self.folder.path().display());
        said.iter().map(|line| line.replace(&folder, "")).collect()
    }
}

/// Returns what is said about a certificate and a key.
fn said(certificate: &[u8], key: &[u8]) -> Vec<String> {
    let files = Files::new(certificate, key);
    files.said(&files.identity(), long_before())
}

#[test]
fn usable_certificate_has_no_warning() {
    for key in [
        ec_key(Nid::X9_62_PRIME256V1),
        ec_key(Nid::SECP384R1),
        PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap(),
    ] {
        let certificate = issue("a.example", &key, None).to_pem().unwrap();
        let none: [String; 0] = [];
        assert_eq!(
            said(&certificate, &key.private_key_to_pem_pkcs8().unwrap()),
            none
        );
    }
}

#[test]
fn older_forms_of_keys_are_read() {
    let none: [String; 0] = [];
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let certificate = issue("a.example", &key, None).to_pem().unwrap();
    let sec1 = key.ec_key().unwrap().private_key_to_pem().unwrap();
    assert_eq!(said(&certificate, &sec1), none);
    // Certificate and key in one file, with text before them.
    let mut both = b"Bag Attributes\n".to_vec();
    both.extend(&sec1);
    both.extend(&certificate);
    assert_eq!(said(&both, &both), none);

    let key = PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap();
    let certificate = issue("a.example", &key, None).to_pem().unwrap();
    let pkcs1 = key.rsa().unwrap().private_key_to_pem().unwrap();
    assert_eq!(said(&certificate, &pkcs1), none);
}

#[test]
fn each_wrong_file_is_named_with_its_cause() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let certificate = issue("a.example", &key, None);
    let pem = certificate.to_pem().unwrap();
    let key_pem = key.private_key_to_pem_pkcs8().unwrap();
    let other = ec_key(Nid::X9_62_PRIME256V1);
    let secp256k1 = ec_key(Nid::SECP256K1);
    let small = PKey::from_rsa(Rsa::generate(1024).unwrap()).unwrap();
    let with = |key: &PKey<Private>| issue("a.example", key, None).to_pem().unwrap();
    let pem_of = |key: &PKey<Private>| key.private_key_to_pem_pkcs8().unwrap();
    let der = certificate.to_der().unwrap();
    let key_der = key.private_key_to_pkcs8().unwrap();
    let pkcs12 = Pkcs12::builder().pkey(&key).cert(&certificate).build2("a");
    let pkcs12 = pkcs12.unwrap().to_der().unwrap();
    let request = {
        let mut request = X509Req::builder().unwrap();
        request.set_pubkey(&key).unwrap();
        request.sign(&key, MessageDigest::sha256()).unwrap();
        request.build().to_pem().unwrap()
    };
    let damaged = |pem: &[u8]| {
        let text = String::from_utf8(pem.to_vec()).unwrap();
        text.replacen("MI", "AA", 1).into_bytes()
    };
    let large = vec![b'a'; 1024 * 1024 + 1];
    for (certificate, key, words) in [
        (
            der.clone(),
            key_pem.clone(),
            "cert.pem: DER instead of PEM: convert it with openssl x509 -inform DER -in FILE -out \
             FILE.pem",
        ),
        (
            pem.clone(),
            key_der.clone(),
            "key.pem: DER instead of PEM: convert it with openssl pkey -inform DER -in FILE -out \
             FILE.pem",
        ),
        (
            pkcs12,
            key_pem.clone(),
            "cert.pem: PKCS #12 instead of PEM: convert it with openssl pkcs12 -in FILE -nodes -out \
             FILE.pem",
        ),
        (
            key_pem.clone(),
            pem.clone(),
            "cert.pem: a private key instead of a certificate: are certificate and key swapped?",
        ),
        (
            key_der,
            der,
            "cert.pem: a private key instead of a certificate: are certificate and key swapped?",
        ),
        (
            pem.clone(),
            pem.clone(),
            "key.pem: a certificate instead of a private key: are certificate and key swapped?",
        ),
        (
            b"garbage".to_vec(),
            key_pem.clone(),
            "cert.pem: not a PEM file: there is no line -----BEGIN CERTIFICATE-----",
        ),
        (
            pem.clone(),
            vec![0xff; 100],
            "key.pem: not a PEM file: there is no line -----BEGIN PRIVATE KEY-----",
        ),
        (Vec::new(), key_pem.clone(), "cert.pem: the file is empty"),
        (
            large,
            key_pem.clone(),
            "cert.pem: larger than 1 MiB, so it is neither certificate nor key",
        ),
        (
            request,
            key_pem.clone(),
            "cert.pem: a certificate request instead of a certificate: use the file that its issuer \
             returned",
        ),
        (
            pem.clone(),
            key.public_key_to_pem().unwrap(),
            "key.pem: PUBLIC KEY instead of PRIVATE KEY",
        ),
        (
            damaged(&pem),
            key_pem.clone(),
            "cert.pem: certificate 1 is damaged: ",
        ),
        (
            pem.clone(),
            damaged(&key_pem),
            "key.pem: the private key is damaged: ",
        ),
        (
            pem.clone(),
            key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret")
                .unwrap(),
            "key.pem: the private key is encrypted: name the file with its passphrase in \
             key_passphrase_file, or decrypt the key with openssl pkey -in FILE -out FILE.pem",
        ),
        (
            pem.clone(),
            b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n"
                .to_vec(),
            "key.pem: an OpenSSH key instead of a PEM key: convert it with ssh-keygen -p -m PEM -f FILE",
        ),
        (
            with(&small),
            pem_of(&small),
            "key.pem: an RSA key of 1024 bits is not supported: use 2048 to 8192 bits",
        ),
        (
            with(&secp256k1),
            pem_of(&secp256k1),
            "key.pem: a key on the curve secp256k1 is not supported: use P-256, P-384 or P-521",
        ),
        (
            pem.clone(),
            pem_of(&PKey::generate_ed448().unwrap()),
            "key.pem: a key of this type is not supported: use RSA, ECDSA or Ed25519",
        ),
        (
            pem.clone(),
            pem_of(&other),
            "key.pem is the key of another certificate than cert.pem",
        ),
    ] {
        let said = said(&certificate, &key);
        assert!(!said.is_empty(), "{words}");
        // The parser of OpenSSL gives further reasons.
        let is_whole = !words.ends_with(' ');
        assert!(said[0].starts_with(words), "{said:?}\n{words}");
        assert!(!is_whole || said == [words], "{said:?}\n{words}");
    }
}

#[test]
fn missing_file_is_named() {
    let files = Files::new(b"", b"");
    let identity = TlsIdentity::files(files.path("a.pem"), files.path("key.pem"));
    assert_eq!(
        files.said(&identity, long_before()),
        ["a.pem: cannot be read: No such file or directory (os error 2)"]
    );
}

#[test]
fn chain_in_the_wrong_order_is_refused_or_warned_about() {
    let [root_key, middle_key, key] = [(); 3].map(|()| ec_key(Nid::X9_62_PRIME256V1));
    let root = issue("root", &root_key, None);
    let middle = issue("middle", &middle_key, Some((&root, &root_key)));
    let leaf = issue("a.example", &key, Some((&middle, &middle_key)));
    let key = key.private_key_to_pem_pkcs8().unwrap();
    let chain = |certificates: &[&X509]| -> Vec<u8> {
        certificates
            .iter()
            .flat_map(|certificate| certificate.to_pem().unwrap())
            .collect()
    };
    let none: [String; 0] = [];
    assert_eq!(said(&chain(&[&leaf, &middle, &root]), &key), none);
    assert_eq!(
        said(&chain(&[&root, &middle, &leaf]), &key),
        [
            "cert.pem: wrong order: certificate 3 is that of the key: put it first, followed by those of its \
          issuers"
        ]
    );
    assert_eq!(
        said(&chain(&[&leaf, &root, &middle]), &key),
        [
            "cert.pem: certificate 1 is not followed by that of its issuer: some clients refuse the chain"
        ]
    );
}

#[test]
fn encrypted_key_is_read_with_its_passphrase() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let certificate = issue("a.example", &key, None).to_pem().unwrap();
    let ec = key.ec_key().unwrap();
    for encrypted in [
        key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"secret"),
        ec.private_key_to_pem_passphrase(Cipher::aes_128_cbc(), b"secret"),
    ] {
        let files = Files::new(&certificate, &encrypted.unwrap());
        let identity = |passphrase: &str| {
            fs::write(files.path("pass"), passphrase).unwrap();
            let certificate = CertificateFiles {
                certificate: files.path("cert.pem"),
                key: files.path("key.pem"),
                key_passphrase_file: files.path("pass"),
            };
            TlsIdentity {
                certificates: vec![certificate],
                ..TlsIdentity::default()
            }
        };
        let none: [String; 0] = [];
        for right in ["secret", "secret\n", "secret\r\n"] {
            assert_eq!(files.said(&identity(right), long_before()), none);
        }
        assert_eq!(
            files.said(&identity("wrong"), long_before()),
            ["key.pem: the private key cannot be decrypted with the passphrase in pass"]
        );
    }
}

#[test]
fn expired_and_expiring_certificates_are_warned_about() {
    let key = ec_key(Nid::X9_62_PRIME256V1);
    let certificate = issue("a.example", &key, None).to_pem().unwrap();
    let files = Files::new(&certificate, &key.private_key_to_pem_pkcs8().unwrap());
    let said = |seconds| {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        files.said(&files.identity(), now).join("\n")
    };
    assert_eq!(said(END - 14 * DAY), "");
    assert_eq!(
        said(END - 14 * DAY + 1),
        "cert.pem: the certificate expires on Jan  1 00:00:00 2100 GMT, in 13 days: renew it"
    );
    assert_eq!(
        said(END + 1),
        "cert.pem: the certificate has expired on Jan  1 00:00:00 2100 GMT: clients refuse it, renew it"
    );
    assert_eq!(
        said(BEGIN - DAY),
        "cert.pem: the certificate is not valid before Jan  1 00:00:00 2000 GMT"
    );
}

#[test]
fn every_wrong_certificate_of_a_listener_is_reported() {
    let files = Files::new(b"", b"");
    let mut identity = files.identity();
    identity.certificates.push(CertificateFiles {
        certificate: files.path("b.pem"),
        key: files.path("key.pem"),
        ..CertificateFiles::default()
    });
    identity.client_ca = Some(files.path("key.pem"));
    assert_eq!(
        files.said(&identity, long_before()),
        [
            "cert.pem: the file is empty",
            "b.pem: cannot be read: No such file or directory (os error 2)",
            "key.pem: the file is empty",
        ]
    );
}
