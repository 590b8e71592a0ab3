//! A data plane's side of the picker's protocol, message by message.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{HeaderMap, HeaderValue, Metadata};
pub(super) use envoy_types::pb::envoy::extensions::filters::http::ext_proc::v3::processing_mode::BodySendMode as Mode;
use envoy_types::pb::envoy::service::ext_proc::v3::body_mutation::Mutation;
use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_client::ExternalProcessorClient;
pub(super) use envoy_types::pb::envoy::service::ext_proc::v3::external_processor_server::SERVICE_NAME as NAME;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_request::Request;
use envoy_types::pb::envoy::service::ext_proc::v3::processing_response::Response as Answer;
use envoy_types::pb::envoy::service::ext_proc::v3::{
    CommonResponse, HttpBody, HttpHeaders, ProcessingRequest, ProcessingResponse, ProtocolConfiguration,
};
use envoy_types::pb::google::protobuf::value::Kind;
use futures::{FutureExt as _, SinkExt as _, channel::mpsc};
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use super::super::bench::Bench;

const PATIENCE: Duration = Duration::from_secs(10);
/// Envoy takes no larger messages.
const LARGEST_PIECE: usize = 64 << 10;

/// One request. Cancelled when it is dropped.
pub(super) struct Talk {
    says: Option<mpsc::Sender<ProcessingRequest>>,
    hears: Streaming<ProcessingResponse>,
}

async fn channel(bench: &Bench) -> Channel {
    Endpoint::from_shared(format!("http://{}", bench.picker())).unwrap().connect().await.unwrap()
}

/// Whether a service of that name is healthy.
pub(super) async fn is_healthy(bench: &Bench, service: &str) -> Result<bool, Code> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let answer =
        HealthClient::new(channel(bench).await).check(request).await.map_err(|status| status.code())?;
    Ok(answer.get_ref().status == 1)
}

impl Talk {
    pub(super) async fn with(bench: &Bench) -> Self {
        let (says, said) = mpsc::channel(8);
        let mut client = ExternalProcessorClient::new(channel(bench).await);
        let hears = client.process(said).await.unwrap().into_inner();
        Self { says: Some(says), hears }
    }

    /// What is said behind the end of a stream is lost.
    pub(super) async fn say(&mut self, message: ProcessingRequest) {
        let _ = self.says.as_mut().unwrap().send(message).await;
    }

    /// Nothing more is said.
    pub(super) fn close(&mut self) {
        self.says = None;
    }

    pub(super) async fn hears(&mut self) -> ProcessingResponse {
        tokio::time::timeout(PATIENCE, self.hears.message()).await.unwrap().unwrap().expect("an answer")
    }

    /// How the stream ends, which has to have ended.
    pub(super) async fn ends(&mut self) -> Option<Code> {
        match tokio::time::timeout(PATIENCE, self.hears.message()).await.unwrap() {
            Ok(None) => None,
            Ok(Some(more)) => panic!("{more:?}"),
            Err(status) => Some(status.code()),
        }
    }

    pub(super) async fn hears_all(&mut self) {
        let all = async { while let Ok(Some(_)) = self.hears.message().await {} };
        tokio::time::timeout(PATIENCE, all).await.unwrap();
    }

    /// Whether nothing was answered to all that was said: the answer to a question of another stream comes first.
    pub(super) async fn is_silent(&mut self) -> bool {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.hears.message().now_or_never().is_none()
    }

    /// A whole body that comes back, and whether it is the end of the stream.
    pub(super) async fn hears_body(&mut self, length: usize) -> (Vec<u8>, bool) {
        let (mut body, mut end) = (vec![], false);
        while body.len() < length {
            assert!(!end);
            let Some(Answer::RequestBody(piece)) = self.hears().await.response else { panic!("no body") };
            let (piece, is_end) = Said::piece(piece.response.unwrap()).unwrap();
            assert!(piece.len() < LARGEST_PIECE);
            body.extend(piece);
            end = is_end;
        }
        (body, end)
    }

    /// Asks something short, and gives the endpoints; `mode` is that of bodies of answers.
    pub(super) async fn asks(&mut self, text: &str, mode: Mode) -> String {
        let request = configured(message(super::post()), Mode::FullDuplexStreamed, mode);
        self.say(request).await;
        self.say(message(body(text.as_bytes(), true))).await;
        let endpoints = destination(&self.hears().await).0;
        self.hears_body(text.len()).await;
        endpoints
    }

    /// Who has answered, as it is put into the head of the answer.
    pub(super) async fn hears_served_by(&mut self) -> Option<String> {
        let said = self.hears().await;
        let Some(Answer::ResponseHeaders(headers)) = &said.response else { panic!("{said:?}") };
        header(headers.response.as_ref().unwrap(), "x-rayfleet-served-by")
    }
}

/// What an answer says of a body.
pub(super) struct Said;

impl Said {
    /// A piece that comes back, and whether it is the last; `None`: it is left as it is.
    pub(super) fn of_answer(said: ProcessingResponse) -> Option<(Vec<u8>, bool)> {
        let Some(Answer::ResponseBody(body)) = said.response else { panic!("{said:?}") };
        Self::piece(body.response.unwrap())
    }

    fn piece(common: CommonResponse) -> Option<(Vec<u8>, bool)> {
        let Mutation::StreamedResponse(piece) = common.body_mutation?.mutation? else {
            panic!("not streamed")
        };
        Some((piece.body, piece.end_of_stream))
    }
}

fn header(common: &CommonResponse, name: &str) -> Option<String> {
    let headers = common.header_mutation.iter().flat_map(|mutation| &mutation.set_headers);
    let mut named = headers.filter_map(|one| one.header.as_ref()).filter(|header| header.key == name);
    named.next().map(|header| String::from_utf8(header.raw_value.clone()).unwrap())
}

/// The endpoints as the header and as metadata have them, and the length of the body.
pub(super) fn destination(said: &ProcessingResponse) -> (String, String, Option<String>) {
    let Some(Answer::RequestHeaders(headers)) = &said.response else { panic!("{said:?}") };
    let common = headers.response.as_ref().unwrap();
    assert!(common.clear_route_cache);
    let name = "x-gateway-destination-endpoint";
    let metadata = said.dynamic_metadata.as_ref().unwrap().fields["envoy.lb"].kind.as_ref();
    let Some(Kind::StructValue(metadata)) = metadata else { panic!("{metadata:?}") };
    let Some(Kind::StringValue(endpoints)) = &metadata.fields[name].kind else { panic!("{metadata:?}") };
    (header(common, name).unwrap(), endpoints.clone(), header(common, "content-length"))
}

/// An immediate response: its status and body.
pub(super) fn at_once(said: ProcessingResponse) -> (i32, Vec<u8>) {
    let Some(Answer::ImmediateResponse(answer)) = said.response else { panic!("{said:?}") };
    (answer.status.unwrap().code, answer.body)
}

pub(super) fn message(request: Request) -> ProcessingRequest {
    ProcessingRequest { request: Some(request), ..ProcessingRequest::default() }
}

pub(super) fn with_metadata(message: ProcessingRequest, metadata: Metadata) -> ProcessingRequest {
    ProcessingRequest { metadata_context: Some(metadata), ..message }
}

/// As the first message of a stream tells how bodies of requests and of answers are sent.
pub(super) fn configured(message: ProcessingRequest, request: Mode, answer: Mode) -> ProcessingRequest {
    let config = ProtocolConfiguration {
        request_body_mode: request.into(),
        response_body_mode: answer.into(),
        ..ProtocolConfiguration::default()
    };
    ProcessingRequest { protocol_config: Some(config), ..message }
}

pub(super) fn head(headers: &[(&str, &str)], end: bool) -> Request {
    let header = |(name, value): &(&str, &str)| HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.as_bytes().to_vec(),
        ..HeaderValue::default()
    };
    let headers = Some(HeaderMap { headers: headers.iter().map(header).collect() });
    Request::RequestHeaders(HttpHeaders { headers, end_of_stream: end, ..HttpHeaders::default() })
}

pub(super) fn body(piece: &[u8], end: bool) -> Request {
    Request::RequestBody(HttpBody { body: piece.to_vec(), end_of_stream: end, ..HttpBody::default() })
}
