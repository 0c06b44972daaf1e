//! What Persona posts: an event by JSON:API. Only names of attributes and relationships follow the
//! key inflection of the webhook (kebab-case, unless set otherwise).

use model::{
    Timestamp,
    wire::{self, Object},
};
use serde::Deserialize;

/// A JSON:API document: its `data`.
#[derive(Debug, Deserialize)]
pub(crate) struct Document<T> {
    pub(crate) data: Option<Object<T>>,
}

/// The event.
#[derive(Debug, Deserialize)]
pub(crate) struct Event {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    pub(crate) attributes: Option<Object<EventAttributes>>,
}

/// What happened, to what and when.
#[derive(Debug, Deserialize)]
pub(crate) struct EventAttributes {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) name: Option<String>,
    pub(crate) payload: Option<Object<Document<Resource>>>,
    #[serde(rename = "created-at", alias = "createdAt", alias = "created_at")]
    #[serde(default, deserialize_with = "wire::time")]
    pub(crate) created_at: Option<Timestamp>,
}

/// What an event is about. Of an inquiry, this is all that is read: the rest is about the person.
#[derive(Debug, Deserialize)]
pub(crate) struct Resource {
    #[serde(rename = "type", default, deserialize_with = "wire::text")]
    pub(crate) resource_type: Option<String>,
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) id: Option<String>,
    pub(crate) attributes: Option<Object<ResourceAttributes>>,
    pub(crate) relationships: Option<Object<Relationships>>,
}

/// The attributes of an inquiry.
#[derive(Debug, Deserialize)]
pub(crate) struct ResourceAttributes {
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) status: Option<String>,
    /// The company's reference of the account.
    #[serde(rename = "reference-id", alias = "referenceId", alias = "reference_id")]
    #[serde(default, deserialize_with = "wire::text")]
    pub(crate) reference_id: Option<String>,
}

/// What an inquiry belongs to.
#[derive(Debug, Deserialize)]
pub(crate) struct Relationships {
    #[serde(rename = "inquiry-template", alias = "inquiryTemplate", alias = "inquiry_template")]
    inquiry_template: Option<Object<Document<Reference>>>,
}

/// A reference to another resource.
#[derive(Debug, Deserialize)]
struct Reference {
    #[serde(default, deserialize_with = "wire::text")]
    id: Option<String>,
}

impl Resource {
    /// The id of its template.
    pub(crate) fn template_id(&self) -> Option<&str> {
        let Object(relationships) = self.relationships.as_ref()?;
        let Object(template) = relationships.inquiry_template.as_ref()?;
        let Object(reference) = template.data.as_ref()?;
        reference.id.as_deref()
    }
}
