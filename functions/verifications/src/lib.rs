//! Where a verification stands (`GET /verifications/{provider}/{subject}`, for the company's own services: the API asks
//! for AWS signatures).

use model::{Courses, Request, Subject, Timestamp, Verification};
use runtime::{GatewayRequest, GatewayResponse, come_again, respond};
use serde_json::json;

/// Answers with where a verification stands and how it came there: 200, 404 if nothing was received about it, 503 if that
/// cannot be found out now.
pub async fn answer(courses: &impl Courses, request: GatewayRequest, now: Timestamp) -> GatewayResponse {
    let Ok(request) = Request::try_from(request) else { return unknown() };
    let parameter = |name: &str| request.path_parameters.get(name).map(|text| decoded(text));
    let (Some(provider), Some(subject)) = (parameter("provider"), parameter("subject")) else { return unknown() };
    // Longer ones are never stored, and DynamoDB would refuse to look for them.
    if Subject::new(provider.as_str()).is_err() || Subject::new(subject.as_str()).is_err() || provider.contains('#') {
        return unknown();
    }
    match courses.of_verification(&provider, &subject).await {
        Ok(courses) => match Verification::new(&provider, &subject, &courses, now) {
            Some(verification) => respond(200, &json!(verification).to_string()),
            None => unknown(),
        },
        Err(error) => {
            tracing::error!(error = runtime::chain(&error), "failed to look up a verification");
            come_again(r#"{"error": "the verification cannot be looked up now: try again"}"#)
        }
    }
}

fn unknown() -> GatewayResponse {
    respond(404, r#"{"error": "nothing was received about this verification: check the provider and the subject"}"#)
}

/// A path parameter as it was meant. API Gateway decodes all escapes but that of the per cent sign.
fn decoded(parameter: &str) -> String {
    parameter.replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use model::{Course, CourseKey, MemoryCourses, StoreError, Written};
    use serde_json::Value;

    use super::*;

    struct Unreachable;

    impl Courses for Unreachable {
        async fn read(&self, _keys: &[CourseKey]) -> Result<Vec<Course>, StoreError> {
            Err(StoreError("gone".into()))
        }

        async fn write(&self, _key: &CourseKey, _course: &Course) -> Result<Written, StoreError> {
            Err(StoreError("gone".into()))
        }

        async fn of_verification(&self, _: &str, _: &str) -> Result<Vec<(String, Course)>, StoreError> {
            Err(StoreError("gone".into()))
        }
    }

    fn ask(courses: &impl Courses, parameters: Value) -> (i64, Value) {
        let event = json!({ "pathParameters": parameters, "requestContext": { "http": {} } });
        let request = serde_json::from_value(event).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let response = runtime.block_on(answer(courses, request, Timestamp::UNIX_EPOCH));
        (response.status_code, serde_json::from_slice(response.body.unwrap().as_ref()).unwrap())
    }

    #[test]
    fn what_is_unknown_is_not_found() {
        for parameters in [
            json!(null),
            json!({ "provider": "jumio" }),
            json!({ "provider": "jumio", "subject": "" }),
            json!({ "provider": "jumio", "subject": "s" }),
            json!({ "provider": "jumio#s", "subject": "s" }),
            json!({ "provider": "jumio", "subject": "s".repeat(3000) }),
        ] {
            assert_eq!(ask(&MemoryCourses::default(), parameters).0, 404);
        }
    }

    #[test]
    fn what_cannot_be_found_out_now_can_be_asked_again() {
        assert_eq!(ask(&Unreachable, json!({ "provider": "jumio", "subject": "s" })).0, 503);
    }
}
