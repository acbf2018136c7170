//! Whole provider quotas: what joint admission costs, and reading usage out of a stream.

use std::{convert::Infallible, hint::black_box, thread};

use axum::{Router, body::Body, http::header::CONTENT_TYPE, routing};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service};
use tower_throttle::{
    Clock, Dimension, Quota, TokenBucketLimiter, TokenUsage, Tokens,
    provider::{Accounting, Provider, ProviderLayer, ProviderLimiter},
};

use crate::{
    calls::checks,
    measure::{Contender, Group},
};

const PLENTY: Quota = Quota::per_second(1_000_000_000);
const EVENTS: usize = 5_000;

pub(crate) fn all(runtime: &'static Runtime) -> Vec<Group> {
    vec![joint(), usage(runtime)]
}

fn three() -> Provider {
    Provider::new("three")
        .limit(Dimension::Requests, PLENTY)
        .limit(Dimension::InputTokens, PLENTY)
        .limit(Dimension::OutputTokens, PLENTY)
        .counting(Accounting::SETTLED)
}

fn joint() -> Group {
    let admit_and_settle = |limiter: ProviderLimiter| {
        checks(move || match limiter.try_acquire(Tokens::new(10, 20)) {
            Ok(reservation) => {
                reservation.settle(TokenUsage {
                    input: 10,
                    output: 5,
                    ..TokenUsage::default()
                });
                true
            }
            Err(_) => false,
        })
    };
    let one = |clock| TokenBucketLimiter::with_clock(PLENTY, clock);
    let (tokio, quanta) = (one(Clock::tokio()), one(Clock::quanta()));
    Group::new("joint admission of three limits, settled")
        .contender(
            "three windows, tokio",
            admit_and_settle(ProviderLimiter::with_clock(three(), Clock::tokio())),
        )
        .contender(
            "three buckets, tokio",
            admit_and_settle(ProviderLimiter::with_clock(
                three().bucket(),
                Clock::tokio(),
            )),
        )
        .contender(
            "three windows, quanta",
            admit_and_settle(ProviderLimiter::with_clock(three(), Clock::quanta())),
        )
        .contender(
            "TokenBucketLimiter, tokio",
            checks(move || tokio.try_acquire(1).is_ok()),
        )
        .contender(
            "TokenBucketLimiter, quanta",
            checks(move || quanta.try_acquire(1).is_ok()),
        )
        .ratio("three windows, tokio", "TokenBucketLimiter, tokio", 3.0)
        .ratio("three buckets, tokio", "TokenBucketLimiter, tokio", 3.0)
}

/// A megabyte of events, read to its end: over loopback, and in memory, where what the reading adds is not lost in how
/// the two ends of a connection wait for each other.
fn usage(runtime: &'static Runtime) -> Group {
    let client = Client::builder(TokioExecutor::new()).build_http();
    let layer = ProviderLayer::new(three());
    let estimate = layer.estimate(|_: &Request<Empty<Bytes>>| Tokens::new(10, 20));
    let events = events();
    let in_memory = tower::service_fn(move |_: Request<Empty<Bytes>>| {
        let frames = events
            .clone()
            .into_iter()
            .map(|event| event.map(Frame::data));
        let response = Response::builder().header(CONTENT_TYPE, "text/event-stream");
        std::future::ready(response.body(StreamBody::new(stream::iter(frames))))
    });
    let nowhere = "http://nowhere/".to_owned();
    Group::new("usage in a stream of 1 MB, an event a frame")
        .calls(10)
        .contender("over loopback", streams(runtime, serve(), client))
        .contender(
            "in memory",
            streams(runtime, nowhere.clone(), in_memory.clone()),
        )
        .contender(
            "in memory, read by the way",
            streams(runtime, nowhere, estimate.layer(in_memory)),
        )
        .share(
            "in memory, read by the way",
            "in memory",
            "over loopback",
            0.1,
        )
}

fn streams<S, B>(runtime: &'static Runtime, url: String, mut service: S) -> Contender
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>> + 'static,
    S::Error: std::fmt::Debug,
    B: http_body::Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    Box::new(move |calls| {
        runtime.block_on(async {
            for _ in 0..calls {
                let request = Request::get(&url).body(Empty::new()).expect("a request");
                futures::future::poll_fn(|cx| service.poll_ready(cx))
                    .await
                    .expect("ready");
                let response = service.call(request).await.expect("a response");
                let mut body = std::pin::pin!(response.into_body());
                let mut bytes = 0;
                while let Some(frame) = body.frame().await {
                    bytes += frame
                        .expect("a frame")
                        .into_data()
                        .map_or(0, |data| data.len());
                }
                assert!(black_box(bytes) > 1_000_000);
            }
        });
    })
}

type Event = Result<Bytes, Infallible>;

fn events() -> Vec<Event> {
    let event = format!(
        "data: {{\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\
         \"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" {}\"}},\"finish_reason\":null}}],\"usage\":null}}\n\n",
        "word".repeat(15)
    );
    let last = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5}}\n\ndata: [DONE]\n\n";
    let events = std::iter::repeat_n(Bytes::from(event), EVENTS).chain([Bytes::from(last)]);
    events.map(Ok).collect()
}

/// Serves the stream from a thread of its own.
fn serve() -> String {
    let events = events();
    let (told, address) = std::sync::mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
                .await
                .expect("a port");
            told.send(listener.local_addr().expect("an address"))
                .expect("somebody listens");
            let handler = move || {
                let body = Body::from_stream(stream::iter(events.clone()));
                async move { ([(CONTENT_TYPE, "text/event-stream")], body) }
            };
            let app = Router::new().route("/", routing::get(handler));
            axum::serve(listener, app).await.expect("it serves");
        });
    });
    format!("http://{}/", address.recv().expect("it listens"))
}
