//! Command messages (RTMP 1.0 section 7.1.1).

use super::error::MessageError;
use crate::proto::amf::Value;

/// A command message.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// The name of the command; `_result`, `_error` and `onStatus` are responses.
    pub name: String,
    /// Identifies the response; 0 if none is expected.
    pub transaction_id: f64,
    /// The command object and the arguments.
    pub arguments: Vec<Value>,
}

impl Command {
    /// Returns a command with its command object first in `arguments`.
    pub fn new(name: &str, transaction_id: f64, arguments: impl Into<Vec<Value>>) -> Self {
        Self {
            name: name.to_owned(),
            transaction_id,
            arguments: arguments.into(),
        }
    }

    /// Returns the command object.
    pub fn object(&self) -> &Value {
        self.argument_at(0)
    }

    /// Returns the argument after the command object at `index`; `Undefined` when there is none.
    pub fn argument(&self, index: usize) -> &Value {
        self.argument_at(index.saturating_add(1))
    }

    /// Sorts the values of a command message. A missing transaction id wants no answer.
    ///
    /// # Errors
    /// Returns [`MessageError::NamelessCommand`] if the first value is not a string.
    pub(super) fn from_values(values: Vec<Value>) -> Result<Self, MessageError> {
        let mut values = values.into_iter();
        let Some(Value::String(name)) = values.next() else {
            return Err(MessageError::NamelessCommand);
        };
        let transaction_id = values.next().and_then(|id| id.as_number()).unwrap_or(0.0);
        Ok(Self {
            name,
            transaction_id,
            arguments: values.collect(),
        })
    }

    fn argument_at(&self, index: usize) -> &Value {
        self.arguments.get(index).unwrap_or(&Value::Undefined)
    }
}
