//! The messages of `ext_proc` as plain data, and back. What is decided on them is in `exchange`.

use std::collections::HashMap;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::header_value_option::HeaderAppendAction;
use envoy_types::pb::envoy::config::core::v3::{
    HeaderMap as WireHeaders, HeaderValue as WireHeader, HeaderValueOption, Metadata,
};
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    BodyMutation, BodyResponse, CommonResponse, HeaderMutation, HeadersResponse, ImmediateResponse,
    ProcessingResponse, StreamedBodyResponse, TrailersResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

/// Where Envoy looks for the endpoints of a request: this header, and this key of the dynamic metadata `envoy.lb`.
pub(super) const DESTINATION: &str = "x-gateway-destination-endpoint";
pub(super) const NAMESPACE: &str = "envoy.lb";
/// Key of the metadata of an answer: the endpoint that gave it.
pub(super) const SERVED: &str = "x-gateway-destination-endpoint-served";
/// Attribute of an answer: who made it, the upstream or Envoy itself, and why.
const DETAILS: &str = "response.code_details";
const FROM_UPSTREAM: &str = "via_upstream";

/// The head of a request.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) method: Method,
    /// Without its query.
    pub(super) path: String,
    pub(super) headers: HeaderMap,
}

impl Head {
    /// What is no method or header by HTTP is left out: Envoy has refused such requests.
    pub(super) fn read(wire: Option<WireHeaders>) -> Self {
        let mut head = Self { method: Method::default(), path: String::new(), headers: HeaderMap::new() };
        for one in wire.into_iter().flat_map(|wire| wire.headers) {
            let value = if one.raw_value.is_empty() { one.value.into_bytes() } else { one.raw_value };
            match one.key.as_str() {
                ":method" => head.method = Method::from_bytes(&value).unwrap_or_default(),
                ":path" => {
                    let path = String::from_utf8_lossy(&value);
                    path.split('?').next().unwrap_or_default().clone_into(&mut head.path);
                }
                name => {
                    if let (Ok(name), Ok(value)) =
                        (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_bytes(&value))
                    {
                        head.headers.append(name, value);
                    }
                }
            }
        }
        head
    }

    /// The length that its body is announced with; a body without one is found out on the way.
    pub(super) fn announced(&self) -> u64 {
        let length = self.headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok());
        length.and_then(|length| length.parse().ok()).unwrap_or_default()
    }
}

/// The status of an answer.
pub(super) fn status(wire: Option<&WireHeaders>) -> Option<StatusCode> {
    let status = wire?.headers.iter().find(|one| one.key == ":status")?;
    let value = if status.raw_value.is_empty() { status.value.as_bytes() } else { &status.raw_value };
    StatusCode::from_bytes(value).ok()
}

/// The endpoint that gave an answer, if the proxy says so.
pub(super) fn served(metadata: Option<&Metadata>) -> Option<&str> {
    as_text(metadata?.filter_metadata.get(NAMESPACE)?.fields.get(SERVED)?)
}

/// Why Envoy itself has answered; `None`: it has not, or does not say.
pub(super) fn own_answer(attributes: &HashMap<String, Struct>) -> Option<&str> {
    let details = attributes.values().find_map(|of_one| of_one.fields.get(DETAILS));
    details.and_then(as_text).filter(|details| *details != FROM_UPSTREAM)
}

fn as_text(value: &Value) -> Option<&str> {
    match &value.kind {
        Some(Kind::StringValue(text)) => Some(text),
        _ => None,
    }
}

/// Sends a request to the first of these endpoints that takes it. `length` is that of its body, unless trailers follow it.
pub(super) fn sent_to(endpoints: &str, length: Option<usize>) -> ProcessingResponse {
    // Written over whatever the client has sent, so that nobody is sent where he likes.
    let mut headers = vec![set(DESTINATION, endpoints.as_bytes())];
    // Envoy takes it away, since a body that comes back in pieces may have changed. This one has not.
    headers.extend(length.map(|length| set("content-length", length.to_string().as_bytes())));
    let common = CommonResponse {
        header_mutation: Some(HeaderMutation { set_headers: headers, remove_headers: vec![] }),
        clear_route_cache: true,
        ..CommonResponse::default()
    };
    ProcessingResponse {
        dynamic_metadata: Some(metadata_of(NAMESPACE, DESTINATION, string(endpoints))),
        ..answer(Answer::RequestHeaders(HeadersResponse { response: Some(common) }))
    }
}

/// Passes on the head of an answer, with who gave it.
pub(super) fn passed_on(served_by: Option<(&str, &str)>) -> ProcessingResponse {
    let mutation = served_by.map(|(name, id)| HeaderMutation {
        set_headers: vec![set(name, id.as_bytes())],
        remove_headers: vec![],
    });
    let common = CommonResponse { header_mutation: mutation, ..CommonResponse::default() };
    answer(Answer::ResponseHeaders(HeadersResponse { response: Some(common) }))
}

/// Which body a piece is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Request,
    Answer,
}

/// Gives back a piece of a body.
pub(super) fn piece(of: Of, piece: &Bytes, end: bool) -> ProcessingResponse {
    let streamed =
        StreamedBodyResponse { body: piece.to_vec(), end_of_stream: end, ..StreamedBodyResponse::default() };
    let mutation = BodyMutation { mutation: Some(Mutation::StreamedResponse(streamed)) };
    body(of, CommonResponse { body_mutation: Some(mutation), ..CommonResponse::default() })
}

/// Leaves a piece of a body as it is, which Envoy has kept.
pub(super) fn unchanged(of: Of) -> ProcessingResponse {
    body(of, CommonResponse::default())
}

fn body(of: Of, common: CommonResponse) -> ProcessingResponse {
    let body = BodyResponse { response: Some(common) };
    answer(match of {
        Of::Request => Answer::RequestBody(body),
        Of::Answer => Answer::ResponseBody(body),
    })
}

/// Leaves trailers as they are.
pub(super) fn trailers(of: Of) -> ProcessingResponse {
    let trailers = TrailersResponse::default();
    answer(match of {
        Of::Request => Answer::RequestTrailers(trailers),
        Of::Answer => Answer::ResponseTrailers(trailers),
    })
}

/// Answers the client itself.
pub(super) fn at_once(
    status: StatusCode,
    headers: impl IntoIterator<Item = (HeaderName, HeaderValue)>,
    body: String,
) -> ProcessingResponse {
    let headers = headers.into_iter().map(|(name, value)| set(name.as_str(), value.as_bytes())).collect();
    answer(Answer::ImmediateResponse(ImmediateResponse {
        status: Some(HttpStatus { code: i32::from(status.as_u16()) }),
        headers: Some(HeaderMutation { set_headers: headers, remove_headers: vec![] }),
        body: body.into_bytes(),
        details: "rayfleet".to_owned(),
        ..ImmediateResponse::default()
    }))
}

fn answer(answer: Answer) -> ProcessingResponse {
    ProcessingResponse { response: Some(answer), ..ProcessingResponse::default() }
}

fn set(name: &str, value: &[u8]) -> HeaderValueOption {
    let header = WireHeader { key: name.to_owned(), raw_value: value.to_vec(), ..WireHeader::default() };
    HeaderValueOption {
        header: Some(header),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
        ..HeaderValueOption::default()
    }
}

/// A text as a value of metadata.
pub(crate) fn string(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

/// Metadata as a proxy sends it.
#[cfg(test)]
pub(crate) fn metadata(namespace: &str, key: &str, value: Value) -> Metadata {
    let inner = Struct { fields: HashMap::from([(key.to_owned(), value)]) };
    Metadata { filter_metadata: HashMap::from([(namespace.to_owned(), inner)]), ..Metadata::default() }
}

/// A list of texts as a value of metadata.
#[cfg(test)]
pub(crate) fn list<const N: usize>(texts: [&str; N]) -> Value {
    let values = texts.iter().map(|text| string(text)).collect();
    Value { kind: Some(Kind::ListValue(envoy_types::pb::google::protobuf::ListValue { values })) }
}

/// A namespace of metadata with one key.
fn metadata_of(namespace: &str, key: &str, value: Value) -> Struct {
    let inner = Struct { fields: HashMap::from([(key.to_owned(), value)]) };
    let inner = Value { kind: Some(Kind::StructValue(inner)) };
    Struct { fields: HashMap::from([(namespace.to_owned(), inner)]) }
}
