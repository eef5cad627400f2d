//! Settings from arguments, the environment and a file; secrets; TLS.

use std::fs;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::support::nats::Nats;
use crate::support::producer::Producer;
use crate::support::redis::Redis;
use crate::support::relay::{PROGRAM, Relay};
use crate::support::{free_port, wait_for};

#[test]
fn arguments_come_before_the_environment_and_that_before_the_file() {
    let nats = Nats::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    let url = nats.url();
    fs::write(
        &file,
        format!("nats-url = \"{url}\"\ncreate-stream = true\nprefix = \"file\"\nstream = \"FILE\"\nmax-run-messages = 7\n"),
    )
    .unwrap();
    let settings = ["--settings", file.to_str().unwrap(), "--prefix", "argument"];
    let environment = [
        ("UDS_IPC_RELAY_PREFIX", "environment"),
        ("UDS_IPC_RELAY_STREAM", "ENVIRONMENT"),
    ];
    let relay = Relay::start_with(&settings, &environment);
    Producer::start(&relay.socket(), &["web"], 10).end();
    let subjects = nats.ask(async |context| {
        let stream = context.get_stream("ENVIRONMENT").await.unwrap();
        stream.cached_info().config.subjects.clone()
    });
    assert_eq!(subjects, ["argument.>"]);
}

/// What `run` says that refuses to.
fn refusal(arguments: &[&str]) -> String {
    let output = Command::new(PROGRAM)
        .arg("run")
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn settings_that_cannot_be_are_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("settings.toml");
    fs::write(&file, "no-such-thing = 1\n").unwrap();
    let said = refusal(&["--settings", file.to_str().unwrap()]);
    assert!(
        said.contains("has the setting no-such-thing, which there is not"),
        "{said}"
    );
    for arguments in [
        ["--ack-timeout", "0s"],
        ["--max-in-flight-bytes", "10 parrots"],
        ["--rule", "xml:a,b"],
        ["--prefix", "a b"],
        ["--socket-mode", "999"],
        ["--allow-users", "nobody-has-this-name"],
        ["--log", "a=b=c"],
    ] {
        refusal(&arguments);
    }
    let said = refusal(&["--listen", "/nowhere/to/be/found/socket"]);
    assert!(said.contains("name another place with --listen"), "{said}");
    // Others see arguments; what is said may go to a log.
    for url in [
        "nats://me:hush@127.0.0.1:1",
        "nats://127.0.0.1:1,nats://hush@127.0.0.1",
    ] {
        let said = refusal(&["--nats-url", url]);
        assert!(
            said.contains("name a file") && !said.contains("hush"),
            "{said}"
        );
    }
    for url in ["redis://:hush@127.0.0.1:1", "unix:///x?pass=hush"] {
        let said = refusal(&["--to", "redis", "--redis-url", url]);
        assert!(
            said.contains("name a file") && !said.contains("hush"),
            "{said}"
        );
    }
    // In the file too.
    for (set, missing) in [
        ("nats-user", "nats-password"),
        ("nats-password", "nats-user"),
        ("nats-certificate", "nats-key"),
    ] {
        fs::write(&file, format!("{set} = \"x\"\n")).unwrap();
        let said = refusal(&["--settings", file.to_str().unwrap()]);
        assert!(said.contains(&format!("{set} needs {missing}")), "{said}");
    }
    let mut help = Command::new(PROGRAM);
    help.args(["run", "--help"])
        .env("UDS_IPC_RELAY_NATS_URL", "nats://me:hush@127.0.0.1:1");
    let shown = String::from_utf8(help.output().unwrap().stdout).unwrap();
    assert!(
        shown.contains("--nats-url") && !shown.contains("hush"),
        "{shown}"
    );
    let mut read = Command::new(PROGRAM);
    read.args(["read", "--nats-url", "nats://me:hush@127.0.0.1:1"]);
    let said = String::from_utf8(read.output().unwrap().stderr).unwrap();
    assert!(said.contains("name a file"), "{said}");
}

/// All goes through, and the secret is not in the log, whatever is logged.
fn arrives(nats: &Nats, arguments: &[&str], secret: &str) {
    let all = [
        "--nats-url",
        &nats.url(),
        "--create-stream",
        "--log",
        "trace",
    ];
    let relay = Relay::start(&[&all, arguments].concat());
    let sent = Producer::start(&relay.socket(), &["web"], 100).end();
    assert!(!relay.log().contains(secret));
    // `read` has the same credentials.
    let mut read = Command::new(PROGRAM);
    let output = read
        .args(["read", "--nats-url", &nats.url()])
        .args(arguments)
        .output()
        .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(
        lines.lines().count().to_string(),
        sent[0].1.to_string(),
        "{said}"
    );
}

#[test]
fn passwords_tokens_and_nkeys_come_from_files() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("secret");
    let path = file.to_str().unwrap();
    fs::write(&file, "hush-hush\n").unwrap();
    let nats = Nats::with("authorization { user: me, password: \"hush-hush\" }");
    arrives(
        &nats,
        &["--nats-user", "me", "--nats-password", path],
        "hush-hush",
    );
    let nats = Nats::with("authorization { token: \"hush-hush\" }");
    arrives(&nats, &["--nats-token", path], "hush-hush");
    let key = nkeys::KeyPair::new_user();
    let seed = key.seed().unwrap();
    fs::write(&file, &seed).unwrap();
    let nats = Nats::with(&format!(
        "authorization {{ users: [ {{ nkey: {} }} ] }}",
        key.public_key()
    ));
    arrives(&nats, &["--nats-nkey", path], &seed);
    // Without one it is not let in, and says so.
    let relay = Relay::start(&["--nats-url", &nats.url()]);
    wait_for("the refusal", || {
        let health = relay.get("/health").unwrap();
        health.contains("unreachable") && health.ends_with("authorization violation\n")
    });

    let redis = Redis::with(&["--requirepass", "hush-hush"]);
    fs::write(&file, "hush-hush\n").unwrap();
    let login = [
        "--to",
        "redis",
        "--redis-url",
        &redis.url(),
        "--redis-password",
        path,
        "--log",
        "trace",
    ];
    let relay = Relay::start(&login);
    Producer::start(&relay.socket(), &["web"], 100).end();
    assert!(!relay.log().contains("hush-hush"));
}

#[test]
fn tls_with_certificates_of_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let authority = params.self_signed(&key).unwrap();
    let ca = write("ca.pem", authority.pem());
    let issuer = Issuer::new(params, key);
    let signed = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        (
            write(&format!("{name}.pem"), certificate.pem()),
            write(&format!("{name}.key"), key.serialize_pem()),
        )
    };
    let ((certificate, key), (own, own_key)) = (signed("server"), signed("relay"));
    let tls = format!(
        "tls {{ cert_file: \"{certificate}\", key_file: \"{key}\", ca_file: \"{ca}\", verify: true }}"
    );
    let nats = Nats::with(&tls);
    let with = [
        "--nats-tls",
        "--nats-ca",
        &ca,
        "--nats-certificate",
        &own,
        "--nats-key",
        &own_key,
    ];
    arrives(&nats, &with, "PRIVATE KEY");

    let port = free_port().to_string();
    let redis = Redis::with(&[
        "--tls-port",
        &port,
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &ca,
        "--tls-auth-clients",
        "no",
    ]);
    let url = format!("rediss://127.0.0.1:{port}");
    let relay = Relay::start(&["--to", "redis", "--redis-url", &url, "--redis-ca", &ca]);
    let sent = Producer::start(&relay.socket(), &["web"], 100).end();
    redis.compare(&sent).unwrap();
}
