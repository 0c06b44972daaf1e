//! What messages look like, as JSON Schema (2020-12): docs/contract/ is made from this.

use schemars::{JsonSchema, Schema, generate::SchemaSettings};

use crate::{Kind, Outcome, Policy};

/// What a message of one kind looks like beside the rest of a [`Message`](crate::Message).
#[derive(Debug, Clone)]
pub struct KindSchema {
    /// The kind's name, without the provider.
    pub name: &'static str,
    /// How a callback can turn out.
    pub outcomes: &'static [Outcome],
    /// What its messages can say: the callback's own verdict, `none` if it is late, and `review` if
    /// it is an approval that another verdict contradicts.
    pub published: Vec<Outcome>,
    /// Whether it is an instruction to deliver a password or a link.
    pub is_delivery: bool,
    /// Its details.
    pub details: Schema,
}

impl<D: JsonSchema> Kind<D> {
    /// What its messages look like.
    #[must_use]
    pub fn schema(&self) -> KindSchema {
        let mut published = self.outcomes().to_vec();
        if self.track().policy() == Policy::Contradicts && published.contains(&Outcome::Approved) {
            published.push(Outcome::Review);
        }
        published.push(Outcome::None);
        KindSchema {
            published,
            name: self.name(),
            outcomes: self.outcomes(),
            is_delivery: self.is_delivery(),
            details: schema_of::<D>(),
        }
    }
}

/// The schema of what a type is written as, in one piece.
#[must_use]
pub fn schema_of<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    settings.for_serialize().into_generator().into_root_schema_for::<T>()
}
