//! Traces in X-Ray's format and in W3C's.
//!
//! Sources:
//! [X-Ray](https://docs.aws.amazon.com/xray/latest/devguide/xray-concepts.html#xray-concepts-tracingheader),
//! [W3C Trace Context](https://www.w3.org/TR/trace-context/#traceparent-header).

/// `Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1` as a traceparent.
/// None if it is not traced, or another text.
pub(crate) fn from_xray(header: &str) -> Option<String> {
    let field = |name: &str| header.split(';').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let (time, id) = field("Root")?.strip_prefix("1-")?.split_once('-')?;
    let parent = field("Parent")?;
    let is_sampled = u8::from(field("Sampled") == Some("1"));
    let traceparent = format!("00-{time}{id}-{parent}-0{is_sampled}");
    let is_hex =
        |text: &str, digits| text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex(time, 8) && is_hex(id, 24) && is_hex(parent, 16)).then_some(traceparent)
}

/// A traceparent that [`from_xray`] made, in X-Ray's format.
pub(crate) fn to_xray(traceparent: &str) -> Option<String> {
    let mut fields = traceparent.split('-').skip(1);
    let (time, id) = fields.next()?.split_at_checked(8)?;
    let (parent, flags) = (fields.next()?, fields.next()?);
    Some(format!("Root=1-{time}-{id};Parent={parent};Sampled={}", u8::from(flags == "01")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_goes_there_and_back() {
        let header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let traceparent = from_xray(header).unwrap();
        assert_eq!(traceparent, "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01");
        assert_eq!(to_xray(&traceparent).unwrap(), header);
        let with_lineage = from_xray(&format!("{header};Lineage=1:a87bd80c:1"));
        assert_eq!(with_lineage, Some(traceparent));
    }

    #[test]
    fn what_is_no_trace_is_none() {
        for header in [
            "",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "Root=2-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8",
            "Root=1-5759e988-short;Parent=53995c3f42cd8ad8;Sampled=1",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=\u{e9}3995c3f42cd8ad;Sampled=1",
        ] {
            assert_eq!(from_xray(header), None, "{header}");
        }
        assert_eq!(to_xray("00-\u{e9}"), None);
    }
}
