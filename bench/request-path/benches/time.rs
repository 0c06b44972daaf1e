//! How long the parts of the request path take. See the package's documentation.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has nothing else to say")]

use divan::{Bencher, black_box};
use jsonwebtoken::Algorithm;
use model::{Course, MemoryStore, Message, MessageDetail, Request, Retention, StoredEvent};
use request_path::{
    callback::{Callback, Reception},
    issuer::{ALGORITHMS, Issuer},
    now,
    provider::{FUNCTIONS, Provider},
    tokio_runtime,
};
use serde_json::json;
use tokio::runtime::Runtime;

fn main() {
    divan::main();
}

/// A provider that takes in this callback, and the callback as it gets it.
struct Case {
    runtime: Runtime,
    provider: Provider,
    request: Request,
}

impl Case {
    fn new(function: &str, callback: impl FnOnce(&Issuer) -> Callback) -> Self {
        let runtime = tokio_runtime().unwrap();
        let issuer = Issuer::new(Algorithm::EdDSA).unwrap();
        let callback = callback(&issuer);
        let request = callback.request().unwrap();
        let provider = runtime.block_on(Provider::of(function, callback.expected, &issuer)).unwrap();
        Self { runtime, provider, request }
    }

    fn of(function: &str) -> Self {
        Self::new(function, |issuer| Callback::of(function, Reception::Fresh, issuer).unwrap())
    }

    fn with_portrait() -> Self {
        Self::new("wallet-verification", |issuer| Callback::with_portrait(issuer).unwrap())
    }

    fn authenticate(&self, bencher: Bencher<'_, '_>) {
        bencher.bench_local(|| self.runtime.block_on(self.provider.authenticate(black_box(&self.request))).unwrap());
    }

    fn parse(&self, bencher: Bencher<'_, '_>) {
        let verified = self.runtime.block_on(self.provider.authenticate(&self.request)).unwrap();
        bencher.bench_local(|| self.provider.parse(black_box(&verified)).unwrap());
    }

    fn build_message(&self, bencher: Bencher<'_, '_>) {
        let received = self.runtime.block_on(self.provider.receive(&MemoryStore::default(), &self.request));
        let event = StoredEvent::new(&received.unwrap().event, Retention::default());
        bencher.bench_local(|| {
            let published = Course::default().decide(black_box(&event), event.received_at).published.unwrap();
            serde_json::to_string(&Message::new(&event, &published, MessageDetail::Full)).unwrap()
        });
    }
}

#[divan::bench(args = FUNCTIONS)]
fn authenticate(bencher: Bencher<'_, '_>, function: &str) {
    Case::of(function).authenticate(bencher);
}

#[divan::bench(args = FUNCTIONS)]
fn parse(bencher: Bencher<'_, '_>, function: &str) {
    Case::of(function).parse(bencher);
}

#[divan::bench(args = FUNCTIONS)]
fn build_message(bencher: Bencher<'_, '_>, function: &str) {
    Case::of(function).build_message(bencher);
}

#[divan::bench(args = ALGORITHMS)]
fn verify_token(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let runtime = tokio_runtime().unwrap();
    let issuer = Issuer::new(algorithm).unwrap();
    let token = issuer.sign(&json!({ "verification_id": "example-verification-1", "given_name": "Example" })).unwrap();
    let trusted = runtime.block_on(issuer.trusted()).unwrap();
    bencher.bench_local(|| runtime.block_on(trusted.verify(black_box(&token), now(), now())).unwrap());
}

/// Of a callback of the wallet gateway with a portrait, which has 2 MB.
mod portrait {
    use super::{Algorithm, Bencher, Callback, Case, Issuer, black_box};

    #[divan::bench]
    fn read_event(bencher: Bencher<'_, '_>) {
        let callback = Callback::with_portrait(&Issuer::new(Algorithm::EdDSA).unwrap()).unwrap();
        bencher.bench_local(|| black_box(&callback).request().unwrap());
    }

    #[divan::bench]
    fn authenticate(bencher: Bencher<'_, '_>) {
        Case::with_portrait().authenticate(bencher);
    }

    #[divan::bench]
    fn parse(bencher: Bencher<'_, '_>) {
        Case::with_portrait().parse(bencher);
    }

    #[divan::bench]
    fn build_message(bencher: Bencher<'_, '_>) {
        Case::with_portrait().build_message(bencher);
    }
}
