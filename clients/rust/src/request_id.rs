use std::collections::HashMap;
use std::sync::LazyLock;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::encoding::{DecodeContext, WireType, skip_field, string};
use prost::{DecodeError, Message};
use prost_types::method_options::IdempotencyLevel;
use prost_types::{DescriptorProto, FileDescriptorSet};
use tonic::Status;

/// The protos of the API as a `google.protobuf.FileDescriptorSet`.
pub const DESCRIPTORS: &[u8] = include_bytes!("descriptors.binpb");

const FIELD: &str = "request_id";
/// Before a message gRPC sends whether it is compressed, and its length.
const PREFIX: usize = 5;

tokio::task_local! {
    /// The id of the change that is being tried, where `retry_when_limited` tries it.
    static OF_ALL_TRIES: String;
}

/// Runs what tries a change once, under this id unless the caller has given one.
pub(crate) async fn under<A: Future>(id: String, attempt: A) -> A::Output {
    OF_ALL_TRIES.scope(id, attempt).await
}

pub(crate) fn fresh() -> String {
    format!("{:032x}", rand::random::<u128>())
}

/// Path of each change that may be repeated under a `request_id` -> number of this field in the request.
static FIELDS: LazyLock<HashMap<String, u32>> = LazyLock::new(|| {
    let set = FileDescriptorSet::decode(DESCRIPTORS).expect("the descriptors are part of this package");
    let mut numbers = HashMap::new();
    for file in &set.file {
        let package = file.package();
        numbers.extend(
            file.message_type.iter().filter_map(|message| Some((format!(".{package}.{}", message.name()), number(message)?))),
        );
    }
    let mut fields = HashMap::new();
    for file in &set.file {
        for service in &file.service {
            for method in &service.method {
                // In the request of a read request_id is a filter.
                let is_read =
                    method.options.as_ref().is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects);
                if let Some(number) = numbers.get(method.input_type()).filter(|_| !is_read) {
                    fields.insert(format!("/{}.{}/{}", file.package(), service.name(), method.name()), *number);
                }
            }
        }
    }
    fields
});

fn number(message: &DescriptorProto) -> Option<u32> {
    let field = message.field.iter().find(|field| field.name() == FIELD)?;
    field.number().try_into().ok()
}

/// Answers the body of a change with its `request_id` filled, and the id; any other body as it is, and an empty id.
///
/// The field is appended to the encoded message, since the position of a field means nothing. So this needs to know no type, all
/// attempts of a call are the same bytes, and the caller's own message stays as it is.
pub(crate) fn fill(path: &str, body: Bytes) -> Result<(Bytes, String), Status> {
    let Some(&number) = FIELDS.get(path) else {
        return Ok((body, String::new()));
    };
    let (prefix, message) = body.split_at_checked(PREFIX).ok_or_else(|| Status::internal("the request is cut off"))?;
    if prefix[0] != 0 {
        return Err(Status::unimplemented("a change cannot get a request_id once it is compressed: do without send_compressed"));
    }
    let mut id = RequestId { number, value: String::new() };
    id.merge(message).map_err(|error| Status::internal(error.to_string()))?;
    if !id.value.is_empty() {
        return Ok((body, id.value));
    }
    id.value = OF_ALL_TRIES.try_with(Clone::clone).unwrap_or_else(|_| fresh());
    let length = message.len() + id.encoded_len();
    let mut filled = BytesMut::with_capacity(PREFIX + length);
    filled.put_u8(0);
    filled.put_u32(length.try_into().map_err(|_| Status::out_of_range("the request is larger than 4 GiB"))?);
    filled.put_slice(message);
    id.encode_raw(&mut filled);
    Ok((filled.freeze(), id.value))
}

/// What a request is when only its `request_id` is looked at.
#[derive(Debug)]
struct RequestId {
    number: u32,
    value: String,
}

impl Message for RequestId {
    fn encode_raw(&self, buffer: &mut impl BufMut) {
        string::encode(self.number, &self.value, buffer);
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire: WireType,
        buffer: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        if tag == self.number {
            string::merge(wire, &mut self.value, buffer, context)
        } else {
            skip_field(wire, tag, buffer, context)
        }
    }

    fn encoded_len(&self) -> usize {
        string::encoded_len(self.number, &self.value)
    }

    fn clear(&mut self) {
        self.value.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::v1::{CreateVaultRequest, ListSubmissionsRequest, VaultSpec};

    const CHANGE: &str = "/cbrgateway.v1.VaultService/CreateVault";

    fn body(message: &impl Message) -> Bytes {
        let mut body = BytesMut::new();
        body.put_u8(0);
        body.put_u32(message.encoded_len().try_into().expect("it is small"));
        message.encode(&mut body).expect("there is room");
        body.freeze()
    }

    fn change(request_id: &str) -> CreateVaultRequest {
        let vault = VaultSpec { name: "vault".into(), ..VaultSpec::default() };
        CreateVaultRequest { vault: Some(vault), request_id: request_id.into(), ..CreateVaultRequest::default() }
    }

    #[test]
    fn a_change_gets_an_id_of_its_own() {
        let (first, id) = fill(CHANGE, body(&change(""))).expect("it is a request");
        assert_eq!(first, body(&change(&id)));
        let (_, other) = fill(CHANGE, body(&change(""))).expect("it is a request");
        assert!(id.len() == 32 && id != other);
    }

    #[test]
    fn an_id_of_the_caller_stays() {
        let given = body(&change("mine"));
        assert_eq!(fill(CHANGE, given.clone()).expect("it is a request"), (given, "mine".into()));
    }

    #[tokio::test]
    async fn all_tries_of_a_change_have_one_id() {
        let filled = |id| under("tried".into(), async move { fill(CHANGE, body(&change(id))).expect("it is a request").1 });
        assert_eq!([filled("").await, filled("").await, filled("mine").await], ["tried", "tried", "mine"]);
    }

    #[test]
    fn a_read_gets_none() {
        let read = body(&ListSubmissionsRequest::default());
        let path = "/cbrgateway.v1.TaskService/ListSubmissions";
        assert_eq!(fill(path, read.clone()).expect("it is a request"), (read, String::new()));
    }
}
