//! Readers that come, read and go in any order.

use http_body_util::BodyExt;
use proptest::prelude::*;
use tower_throttle::cache::Status;

use super::{
    cache, post, runtime,
    server::{Answered, Calls, Client, Feed, call, server, settle},
};
use crate::support::poll_once;

#[derive(Debug, Clone)]
enum Step {
    Join,
    /// The reader with this number, of those that there are, reads a frame if there is one.
    Read(usize),
    Leave(usize),
    Feed(Vec<u8>),
}

struct Reading {
    response: Answered,
    got: Vec<u8>,
}

impl Reading {
    /// Whether it has come to its end.
    async fn read(&mut self) -> bool {
        match poll_once(self.response.body_mut().frame()).await {
            Some(Some(frame)) => {
                self.got.extend(frame.unwrap().into_data().unwrap());
                false
            }
            Some(None) => true,
            None => false,
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Join),
        6 => any::<usize>().prop_map(Step::Read),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => prop::collection::vec(any::<u8>(), 0..20).prop_map(Step::Feed),
    ]
}

async fn join(client: &Client, calls: &mut Calls, feed: &mut Option<Feed>) -> Reading {
    let mut begun = call(client, post("{}")).await;
    let mut response = poll_once(&mut begun).await;
    if response.is_none() {
        // It asks, since all those before have gone.
        assert!(feed.as_ref().is_none_or(Feed::is_dropped));
        *feed = Some(calls.next().answer());
        response = poll_once(&mut begun).await;
    }
    let response = response.expect("must wait").unwrap();
    assert_ne!(Status::of(&response), Some(Status::Hit));
    let got = Vec::new();
    Reading { response, got }
}

async fn run(steps: Vec<Step>) {
    let (client, mut calls) = server(&cache());
    let (mut feed, mut readers, mut sent) = (None, Vec::<Reading>::new(), Vec::new());
    for step in steps {
        settle().await;
        let count = readers.len();
        match step {
            Step::Join => {
                if count == 0 {
                    sent.clear();
                }
                readers.push(join(&client, &mut calls, &mut feed).await);
            }
            Step::Read(index) if count > 0 => {
                let reader = &mut readers[index % count];
                assert!(!reader.read().await, "ended before its end");
                assert!(sent.starts_with(&reader.got));
            }
            Step::Leave(index) if count > 0 => drop(readers.swap_remove(index % count)),
            Step::Feed(data) if count > 0 => {
                sent.extend(&data);
                feed.as_ref().unwrap().data(data);
            }
            _ => {}
        }
    }
    let is_asked = feed.is_some();
    drop(feed);
    let is_read = !readers.is_empty();
    for mut reader in readers {
        settle().await;
        while !reader.read().await {}
        assert_eq!(reader.got, sent);
    }
    if is_asked && is_read {
        let mut hit = call(&client, post("{}")).await;
        let response = poll_once(&mut hit).await.unwrap().unwrap();
        assert_eq!(Status::of(&response), Some(Status::Hit));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, sent);
    }
    assert_eq!(calls.count(), 0);
}

proptest! {
    #[test]
    fn each_reader_gets_all_of_the_body_in_its_order(
        steps in prop::collection::vec(any_step(), 0..80),
    ) {
        runtime().block_on(run(steps));
    }
}
