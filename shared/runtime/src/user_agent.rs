//! The `User-Agent` of our calls to AWS.

use aws_runtime::user_agent::UserAgentInterceptor;
use aws_sdk_dynamodb::{
    config::{ConfigBag, Intercept, RuntimeComponents, interceptors::BeforeTransmitInterceptorContextMut},
    error::BoxError,
};
use aws_smithy_runtime_api::client::interceptors::{
    context::BeforeSerializationInterceptorContextRef, disable_interceptor,
};

/// Sends a short, constant `User-Agent` in place of the SDK's, which is built for each call and
/// took 6 % of the instructions of an insert. CloudTrail shows it, so it still names the caller.
#[derive(Debug, Clone, Copy)]
pub struct UserAgent;

impl UserAgent {
    const TEXT: &str = concat!("verification-callbacks/", env!("CARGO_PKG_VERSION"));
}

impl Intercept for UserAgent {
    fn name(&self) -> &'static str {
        "UserAgent"
    }

    fn read_before_execution(
        &self,
        _: &BeforeSerializationInterceptorContextRef<'_>,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        cfg.interceptor_state().store_put(disable_interceptor::<UserAgentInterceptor>("it is slow"));
        Ok(())
    }

    fn modify_before_signing(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        context.request_mut().headers_mut().insert("user-agent", Self::TEXT);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::connections::Connections;

    #[tokio::test]
    async fn a_call_names_us_and_not_the_sdk() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let request = tokio::spawn(async move {
            let (mut connection, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let length = connection.read(&mut request).await.unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
            String::from_utf8_lossy(&request[..length]).to_lowercase()
        });

        let config = aws_sdk_dynamodb::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("eu-central-1"))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .endpoint_url(url)
            .http_client(Connections::new().client())
            .interceptor(UserAgent);
        aws_sdk_dynamodb::Client::from_conf(config.build()).put_item().table_name("events").send().await.unwrap();

        let request = request.await.unwrap();
        assert!(request.contains(&format!("user-agent: {}\r\n", UserAgent::TEXT)), "{request}");
        assert_eq!(request.matches("user-agent").count(), 1, "{request}");
    }
}
