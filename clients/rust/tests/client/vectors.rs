//! Messages as bytes: what is found in them, and that they are written back as they were.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cbrgateway::Gateway;
use cbrgateway::prost_types::Timestamp;
use cbrgateway::tonic::Code;
use cbrgateway::v1::{CheckpointResource, ListVaultsResponse, Task};
use prost::Message;
use serde::Deserialize;

use crate::stage::{passed, told};

#[derive(Deserialize)]
struct Vector {
    name: String,
    message: String,
    facts: BTreeMap<String, String>,
    base64: String,
}

#[test]
fn vectors() {
    let text = std::fs::read_to_string(told("VECTORS")).expect("the frame has written the file");
    let vectors: Vec<Vector> = serde_json::from_str(&text).expect("the file is as we know it");
    assert!(!vectors.is_empty());
    for vector in vectors {
        let content = STANDARD.decode(&vector.base64).expect("it is base64");
        let (written, found) = match &*vector.message {
            "Task" => read(&content, task),
            "CheckpointResource" => read(&content, resource),
            "ListVaultsResponse" => read(&content, vaults),
            other => panic!("no such message here: {other}"),
        };
        for (name, want) in &vector.facts {
            assert_eq!(found.get(&**name), Some(want), "{}: {name}", vector.name);
        }
        assert_eq!(written, content, "{} is written back otherwise", vector.name);
    }
    passed("vectors");
}

#[derive(Deserialize)]
struct Address {
    address: String,
    says: String,
}

#[tokio::test]
async fn addresses() {
    let text = std::fs::read_to_string(told("ADDRESSES")).expect("the frame names the file");
    let cases: Vec<Address> = serde_json::from_str(&text).expect("the file is as we know it");
    assert!(!cases.is_empty());
    for Address { address, says } in cases {
        match Gateway::at(&address).plaintext().connect() {
            Ok(_) => assert_eq!(says, "", "{address}"),
            Err(error) => {
                assert_eq!(error.code, Code::InvalidArgument);
                assert_eq!(error.message, format!("the address {address:?} {says}"));
            }
        }
    }
    passed("addresses");
}

type Facts = BTreeMap<&'static str, String>;

/// The message as it is written back, and the facts in it.
fn read<M: Message + Default>(content: &[u8], facts: fn(&M) -> Facts) -> (Vec<u8>, Facts) {
    let message = M::decode(content).expect("it is such a message");
    (message.encode_to_vec(), facts(&message))
}

fn task(task: &Task) -> Facts {
    let common = task.details.as_ref().and_then(|details| details.common.as_ref());
    Facts::from([
        ("type", task.r#type.to_string()),
        ("type_raw", task.type_raw.clone()),
        ("status", task.status.to_string()),
        ("progress_percent", or_unset(common.and_then(|common| common.progress_percent))),
        ("start_seconds", or_unset(task.start_time.map(seconds))),
        ("start_nanos", or_unset(task.start_time.map(|time| time.nanos))),
        ("end_time", or_unset(task.end_time.map(seconds))),
    ])
}

fn resource(resource: &CheckpointResource) -> Facts {
    Facts::from([("backup_size_mib", or_unset(resource.backup_size_mib))])
}

fn vaults(response: &ListVaultsResponse) -> Facts {
    let last = response.vaults.last().expect("there are vaults");
    let used_mib = last.billing.as_ref().map(|billing| billing.used_mib);
    Facts::from([
        ("count", response.vaults.len().to_string()),
        ("last_id", last.id.clone()),
        ("last_used_mib", or_unset(used_mib)),
    ])
}

fn seconds(time: Timestamp) -> i64 {
    time.seconds
}

fn or_unset(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "unset".into(), |set| set.to_string())
}
