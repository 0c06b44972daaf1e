//! [AWS Signature Version 4](https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html), for one kind of request.

use aws_lc_rs::{
    digest::{SHA256, digest},
    hmac::{HMAC_SHA256, Key, Tag, sign},
};

/// Who signs.
pub(crate) struct Credentials {
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
    /// Lambda's credentials are temporary, and say so by this.
    pub(crate) session_token: String,
    pub(crate) region: String,
}

impl Credentials {
    /// The header `Authorization` of a call to DynamoDB at this time, such as `20260131T093000Z`.
    pub(crate) fn authorization(&self, host: &str, time: &str, target: &str, body: &[u8]) -> String {
        const SIGNED: &str = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
        let day = time.get(..8).unwrap_or_default();
        let scope = format!("{day}/{}/dynamodb/aws4_request", self.region);
        let token = &self.session_token;
        let payload = hex(digest(&SHA256, body).as_ref());
        let canonical = format!(
            "POST\n/\n\ncontent-type:application/x-amz-json-1.0\nhost:{host}\nx-amz-date:{time}\nx-amz-security-token:{token}\nx-amz-target:{target}\n\n{SIGNED}\n{payload}"
        );
        let canonical = hex(digest(&SHA256, canonical.as_bytes()).as_ref());
        let to_sign = format!("AWS4-HMAC-SHA256\n{time}\n{scope}\n{canonical}");
        let signature = hex(hmac(self.key(day).as_ref(), &to_sign).as_ref());
        format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={SIGNED}, Signature={signature}",
            self.access_key_id
        )
    }

    fn key(&self, day: &str) -> Tag {
        let of_day = hmac(format!("AWS4{}", self.secret_access_key).as_bytes(), day);
        let of_region = hmac(of_day.as_ref(), &self.region);
        let of_service = hmac(of_region.as_ref(), "dynamodb");
        hmac(of_service.as_ref(), "aws4_request")
    }
}

fn hmac(key: &[u8], text: &str) -> Tag {
    sign(&Key::new(HMAC_SHA256, key), text.as_bytes())
}

/// Lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().map_or('0', char::from);
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_signed_as_botocore_signs_it() {
        let credentials = Credentials {
            access_key_id: "AKIDEXAMPLE".to_owned(),
            secret_access_key: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_owned(),
            session_token: "example-token".to_owned(),
            region: "us-east-1".to_owned(),
        };
        let authorization =
            credentials.authorization("example.com", "20260131T093000Z", "DynamoDB_20120810.PutItem", b"{}");
        // Signed by botocore 1.43.127.
        let expected = "Signature=aec4be263e1fb2c023a59764cb4f579a2d21dbc955cca7f6ceb44ee3a637912e";
        assert!(authorization.ends_with(expected), "{authorization}");
    }
}
