//! `security:secrets` on keys as `ssh-keygen` and `openssl` write them.

use std::process::{Command, Stdio};

use crate::support::{Sandbox, have};

/// Of each kind so many: what the letters of a body happen to spell must not matter.
const MANY: usize = 5;

/// Runs a program in the project; whether it knows what is asked of it differs between versions.
fn writes(sandbox: &Sandbox, program: &str, args: &str, file: &str) -> bool {
    let status = Command::new(program)
        .args(args.split(' ').map(|arg| match arg {
            "FILE" => file,
            "NONE" => "",
            other => other,
        }))
        .current_dir(sandbox.project())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.is_ok_and(|status| status.success()) && sandbox.path(file).is_file()
}

#[track_caller]
fn all_are_found(program: &str, kinds: &[&str]) {
    if !have(program) {
        return;
    }
    let sandbox = Sandbox::with(&[]);
    let mut written = Vec::new();
    for (kind, args) in kinds.iter().enumerate() {
        for at in 0..MANY {
            let file = format!("key-{kind}-{at}");
            if writes(&sandbox, program, args, &file) {
                written.push((file, *args));
            }
        }
    }
    assert!(
        written.len() >= kinds.len() / 2 * MANY,
        "{program} writes nothing"
    );
    sandbox.git(&["add", "-A"]);
    let json = sandbox.json(&["dev-check"]).expect(1);
    let findings = &json.check("security:secrets")["findings"];
    let findings = findings.as_array().expect("findings");
    for (file, kind) in written {
        let found = |finding: &serde_json::Value| finding["path"] == file.as_str();
        assert!(findings.iter().any(found), "{program} {kind}");
    }
}

#[test]
fn every_kind_that_ssh_keygen_writes_is_found() {
    all_are_found(
        "ssh-keygen",
        &[
            "-q -t ed25519 -N NONE -f FILE",
            "-q -t ed25519 -N secret -a 1 -f FILE",
            "-q -t ecdsa -b 256 -N NONE -f FILE",
            "-q -t ecdsa -b 521 -N NONE -f FILE",
            "-q -t ecdsa -b 384 -m PEM -N NONE -f FILE",
            "-q -t ecdsa -b 256 -m PKCS8 -N NONE -f FILE",
            "-q -t rsa -b 1024 -N NONE -f FILE",
            "-q -t rsa -b 1024 -m PEM -N NONE -f FILE",
            "-q -t rsa -b 1024 -m PEM -N secret -f FILE",
            "-q -t rsa -b 1024 -m PKCS8 -N NONE -f FILE",
        ],
    );
}

#[test]
fn every_kind_that_openssl_writes_is_found() {
    all_are_found(
        "openssl",
        &[
            "genpkey -algorithm ED25519 -out FILE",
            "genpkey -algorithm ED448 -out FILE",
            "genpkey -algorithm X25519 -out FILE",
            "genpkey -algorithm X25519 -aes256 -pass pass:secret -out FILE",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:prime256v1 -out FILE",
            "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:secp521r1 -out FILE",
            "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out FILE",
            "ecparam -genkey -name prime192v1 -noout -out FILE",
            "ecparam -genkey -name secp256k1 -out FILE",
            "genrsa -traditional -out FILE 1024",
            "genrsa -traditional -aes256 -passout pass:secret -out FILE 1024",
        ],
    );
}
