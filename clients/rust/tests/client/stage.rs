//! What the tests know of the servers that the frame has started.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use cbrgateway::tonic::{Code, Response, Status};
use cbrgateway::v1::protectability_service_client::ProtectabilityServiceClient;
use cbrgateway::v1::vault_service_client::VaultServiceClient;
use cbrgateway::{Connection, Error, Gateway, v1};

/// A variable of the frame.
pub(crate) fn told(name: &str) -> String {
    std::env::var(format!("CBR_TEST_{name}"))
        .unwrap_or_else(|_| panic!("CBR_TEST_{name} is not set: run `make test-clients LANGS=rust`"))
}

/// Notes that a check has passed: the last line of its test.
pub(crate) fn passed(check: &str) {
    std::fs::write(Path::new(&told("RESULTS")).join(check), "").expect("the result can be written");
}

/// The gateway, with its authority and a key without limits.
pub(crate) fn gateway() -> Gateway {
    Gateway::at(told("ADDRESS")).authorities(pem("CA_FILE")).api_key(told("API_KEY"))
}

/// The server with the script.
pub(crate) fn script() -> Gateway {
    Gateway::at(told("SCRIPT_ADDRESS")).plaintext()
}

pub(crate) fn connect() -> Connection {
    gateway().connect().expect("the frame's settings are right")
}

pub(crate) fn pem(variable: &str) -> Vec<u8> {
    std::fs::read(told(variable)).expect("the frame has written the file")
}

/// Tells the stage what to do.
pub(crate) fn ask(request: &str) -> String {
    let control = told("CONTROL");
    let address = control.strip_prefix("http://").expect("the control speaks plain HTTP");
    let mut stream = TcpStream::connect(address).expect("the control listens");
    stream.set_read_timeout(Some(Duration::from_secs(90))).expect("there is a limit");
    write!(stream, "POST {request} HTTP/1.0\r\n\r\n").expect("the control reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the control answers");
    let (head, body) = answer.split_once("\r\n\r\n").expect("the control speaks HTTP");
    assert!(head.contains(" 200 "), "{request}: {body}");
    body.to_owned()
}

pub(crate) fn billing(size_gib: i32) -> v1::BillingSpec {
    v1::BillingSpec {
        size_gib,
        object_type: v1::ObjectType::Server.into(),
        protect_type: v1::ProtectType::Backup.into(),
        consistent_level: v1::ConsistentLevel::CrashConsistent.into(),
        ..Default::default()
    }
}

pub(crate) fn new_vault(name: &str) -> v1::CreateVaultRequest {
    let vault = v1::VaultSpec { name: name.into(), billing: Some(billing(100)), ..Default::default() };
    v1::CreateVaultRequest { vault: Some(vault), ..Default::default() }
}

/// A vault that holds a server; answers its id.
pub(crate) async fn protected_vault(connection: &Connection, name: &str) -> Result<String, Error> {
    let asked = v1::ListProtectablesRequest { protectable_type: v1::ProtectableType::Server.into(), ..Default::default() };
    let found = ProtectabilityServiceClient::new(connection.clone()).list_protectables(asked).await?.into_inner();
    let is_free = |server: &&v1::Protectable| server.protectable.as_ref().is_some_and(|state| state.vault.is_none());
    let server = found.instances.iter().find(is_free).expect("there is a server");
    let mut request = new_vault(name);
    let spec = request.vault.get_or_insert_default();
    spec.billing = Some(billing(200));
    spec.resources = vec![v1::ResourceRef { id: server.id.clone(), r#type: server.r#type.clone(), ..Default::default() }];
    let made = VaultServiceClient::new(connection.clone()).create_vault(request).await?.into_inner();
    Ok(made.vault.expect("a vault was made").id)
}

/// The error of a call that must fail with this code; its text has these words.
pub(crate) fn failed<T: std::fmt::Debug>(result: Result<Response<T>, Status>, code: Code, words: &[&str]) -> Error {
    let error = Error::from(result.expect_err("the call fails"));
    assert_eq!(error.code, code, "{error}");
    for word in words {
        assert!(error.to_string().contains(word), "{word:?} is not in {error}");
    }
    error
}
