//! How many instructions the request path takes. See the package's documentation.

#![expect(clippy::unwrap_used, reason = "a measurement that cannot be made has nothing else to say")]
#![expect(missing_docs, reason = "what the macros make has no documentation")]

use gungraun::{Callgrind, LibraryBenchmarkConfig, library_benchmark, library_benchmark_group, main};
use jsonwebtoken::Algorithm;
use model::{Event, EventStore as _, Expectation, Expectations as _, Inserted, MemoryStore};
use request_path::{
    callback::{
        Callback,
        Reception::{self, Fresh, Refused, Unrecognized},
    },
    dynamo::Answer,
    issuer::Issuer,
    provider::Provider,
    tokio_runtime,
};
use runtime::{DynamoExpectations, DynamoStore};
use tokio::runtime::Runtime;

/// A function that answers from memory, and a callback for it.
struct Answering {
    runtime: Runtime,
    provider: Provider,
    store: MemoryStore,
    event: Vec<u8>,
}

/// A function that has answered the like before, as it mostly has: what is done once in a process is not counted.
fn answering(function: &str, reception: Reception) -> Answering {
    let runtime = tokio_runtime().unwrap();
    // With its log and its metrics.
    runtime.block_on(runtime::run(async { Ok(()) }));
    let issuer = Issuer::new(Algorithm::EdDSA).unwrap();
    let Callback { event, expected } = Callback::of(function, reception, &issuer).unwrap();
    let provider = runtime.block_on(Provider::of(function, expected, &issuer)).unwrap();
    let store = MemoryStore::default();
    runtime.block_on(provider.answer(&MemoryStore::default(), &event)).unwrap();
    Answering { runtime, provider, store, event }
}

// From the gateway's event to the answer to it, with a store in memory.
#[library_benchmark]
#[bench::identomat_fresh(answering("identomat", Fresh))]
#[bench::identomat_refused(answering("identomat", Refused))]
#[bench::identomat_unrecognized(answering("identomat", Unrecognized))]
#[bench::jumio_fresh(answering("jumio", Fresh))]
#[bench::jumio_refused(answering("jumio", Refused))]
#[bench::jumio_unrecognized(answering("jumio", Unrecognized))]
#[bench::signicat_fresh(answering("signicat", Fresh))]
#[bench::signicat_refused(answering("signicat", Refused))]
#[bench::signicat_unrecognized(answering("signicat", Unrecognized))]
#[bench::verifyvasp_fresh(answering("verifyvasp", Fresh))]
#[bench::verifyvasp_refused(answering("verifyvasp", Refused))]
#[bench::verifyvasp_unrecognized(answering("verifyvasp", Unrecognized))]
#[bench::wallet_issuance_fresh(answering("wallet-issuance", Fresh))]
#[bench::wallet_issuance_refused(answering("wallet-issuance", Refused))]
#[bench::wallet_issuance_unrecognized(answering("wallet-issuance", Unrecognized))]
#[bench::wallet_verification_fresh(answering("wallet-verification", Fresh))]
#[bench::wallet_verification_refused(answering("wallet-verification", Refused))]
#[bench::wallet_verification_unrecognized(answering("wallet-verification", Unrecognized))]
fn answer(case: Answering) -> (Answering, Vec<u8>) {
    let answer = case.runtime.block_on(case.provider.answer(&case.store, &case.event)).unwrap();
    (case, answer)
}

/// A store that answers from memory, and an event for it.
struct Inserting {
    runtime: Runtime,
    store: DynamoStore,
    event: Event,
}

/// The insertion of this callback, which the table answers so, in a process that has inserted before.
fn inserting(function: &str, callback: impl Fn(&Issuer) -> Callback, answer: Answer) -> Inserting {
    let runtime = tokio_runtime().unwrap();
    let issuer = Issuer::new(Algorithm::EdDSA).unwrap();
    let callback = callback(&issuer);
    let request = callback.request().unwrap();
    let store = answer.store();
    let event = runtime.block_on(async {
        let provider = Provider::of(function, callback.expected, &issuer).await.unwrap();
        let event = provider.receive(&MemoryStore::default(), &request).await.unwrap().event;
        store.insert(&event).await.unwrap();
        event
    });
    Inserting { runtime, store, event }
}

fn inserting_fresh(answer: Answer) -> Inserting {
    inserting("verifyvasp", |issuer| Callback::of("verifyvasp", Fresh, issuer).unwrap(), answer)
}

fn inserting_portrait() -> Inserting {
    inserting("wallet-verification", |issuer| Callback::with_portrait(issuer).unwrap(), Answer::Done)
}

// The call to DynamoDB, but for the network. One for each part, if the body is in parts.
#[library_benchmark]
#[bench::one_item(inserting_fresh(Answer::Done))]
#[bench::one_item_that_is_there(inserting_fresh(Answer::AlreadyThere))]
#[bench::portrait_in_parts(inserting_portrait())]
fn insert(case: Inserting) -> (Inserting, Inserted) {
    let inserted = case.runtime.block_on(case.store.insert(&case.event)).unwrap();
    (case, inserted)
}

/// The expectations, which answer from memory, in a process that has looked one up before.
fn expecting() -> (Runtime, DynamoExpectations) {
    let runtime = tokio_runtime().unwrap();
    let expectations = Answer::Expectation.expectations();
    runtime.block_on(expectations.find(CODE_SHA256)).unwrap().unwrap();
    (runtime, expectations)
}

const CODE_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

// The other call to DynamoDB, for the wallet gateway's codes.
#[library_benchmark]
#[bench::expectation(expecting())]
fn look_up(
    (runtime, expectations): (Runtime, DynamoExpectations),
) -> (Runtime, DynamoExpectations, Option<Expectation>) {
    let found = runtime.block_on(expectations.find(CODE_SHA256)).unwrap();
    (runtime, expectations, found)
}

library_benchmark_group!(name = functions, benchmarks = answer);
library_benchmark_group!(name = dynamo, benchmarks = [insert, look_up]);
main!(
    // Instructions alone: without the simulated caches, it takes half the time.
    config = LibraryBenchmarkConfig::default().tool(Callgrind::with_args(["--cache-sim=no"])),
    library_benchmark_groups = [functions, dynamo]
);
