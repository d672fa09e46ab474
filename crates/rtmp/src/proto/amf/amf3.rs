//! Decodes the Action Message Format, version 3 (Adobe AMF 3 specification, January 2013).

use bytes::Buf;

use crate::proto::amf::{AmfError, Budget, Value, take_bytes, text};

/// Type markers (section 3.1).
mod marker {
    pub(super) const UNDEFINED: u8 = 0x00;
    pub(super) const NULL: u8 = 0x01;
    pub(super) const FALSE: u8 = 0x02;
    pub(super) const TRUE: u8 = 0x03;
    pub(super) const INTEGER: u8 = 0x04;
    pub(super) const DOUBLE: u8 = 0x05;
    pub(super) const STRING: u8 = 0x06;
    pub(super) const XML_DOCUMENT: u8 = 0x07;
    pub(super) const DATE: u8 = 0x08;
    pub(super) const ARRAY: u8 = 0x09;
    pub(super) const OBJECT: u8 = 0x0A;
    pub(super) const XML: u8 = 0x0B;
    pub(super) const BYTE_ARRAY: u8 = 0x0C;
    pub(super) const VECTOR_INT: u8 = 0x0D;
    pub(super) const VECTOR_UINT: u8 = 0x0E;
    pub(super) const VECTOR_DOUBLE: u8 = 0x0F;
    pub(super) const VECTOR_OBJECT: u8 = 0x10;
    pub(super) const DICTIONARY: u8 = 0x11;
}

/// Classes that serialize themselves as one other value (section 3.12 leaves the format to them).
const WRAPPERS: [&str; 2] = [
    "flex.messaging.io.ArrayCollection",
    "flex.messaging.io.ObjectProxy",
];

/// Decodes one value from the front of `bytes`, with reference tables of its own.
///
/// # Errors
/// Returns [`AmfError`] if the bytes are not AMF3 or exceed the budget.
pub(crate) fn decode_value(
    bytes: &mut &[u8],
    budget: &mut Budget,
    depth: usize,
) -> Result<Value, AmfError> {
    let mut decoder = Decoder {
        rest: bytes,
        budget,
        strings: Vec::new(),
        traits: Vec::new(),
        objects: Vec::new(),
    };
    let node = decoder.value(depth)?;
    let objects = std::mem::take(&mut decoder.objects);
    unfold(&node, &objects, budget, depth)
}

/// A value with its objects in a table, so that references cost nothing until they are expanded.
enum Node {
    Plain(Value),
    /// The object at this index of the table.
    Complex(usize),
}

/// An entry of the object table.
enum Complex {
    Plain(Value),
    Object(Vec<(String, Node)>),
    Array {
        associative: Vec<(String, Node)>,
        dense: Vec<Node>,
    },
    /// A wrapper around one value.
    Wrapper(Box<Node>),
    /// An object that is not complete yet.
    Open,
}

/// The traits of an object: its class's member names, and whether dynamic members follow (section
/// 3.12).
#[derive(Clone)]
struct Traits {
    members: Vec<String>,
    dynamic: bool,
    wrapper: bool,
}

struct Decoder<'a, 'b> {
    rest: &'a mut &'b [u8],
    budget: &'a mut Budget,
    strings: Vec<String>,
    traits: Vec<Traits>,
    objects: Vec<Complex>,
}

impl Decoder<'_, '_> {
    fn value(&mut self, depth: usize) -> Result<Node, AmfError> {
        self.budget.take(depth)?;
        let value = match self.rest.try_get_u8()? {
            marker::UNDEFINED => Value::Undefined,
            marker::NULL => Value::Null,
            marker::FALSE => Value::Boolean(false),
            marker::TRUE => Value::Boolean(true),
            marker::INTEGER => {
                // 29 bits, signed.
                let unsigned = self.u29()?;
                Value::Number(f64::from((unsigned << 3).cast_signed() >> 3))
            }
            marker::DOUBLE => Value::Number(self.rest.try_get_f64()?),
            marker::STRING => Value::String(self.string()?),
            complex => return self.complex(complex, depth),
        };
        Ok(Node::Plain(value))
    }

    /// Reads a value that has an entry in the object table.
    fn complex(&mut self, marker: u8, depth: usize) -> Result<Node, AmfError> {
        if !(marker::XML_DOCUMENT..=marker::DICTIONARY).contains(&marker)
            || marker == marker::STRING
        {
            return Err(AmfError::UnknownMarker(marker));
        }
        let header = self.u29()?;
        let number = (header >> 1) as usize;
        if header & 1 == 0 {
            if number >= self.objects.len() {
                return Err(AmfError::BadReference(number));
            }
            return Ok(Node::Complex(number));
        }
        let index = self.objects.len();
        self.objects.push(Complex::Open);
        let complex = match marker {
            marker::XML_DOCUMENT | marker::XML => {
                Complex::Plain(Value::String(self.text_of(number)?))
            }
            marker::DATE => Complex::Plain(Value::Date(self.rest.try_get_f64()?)),
            marker::ARRAY => self.array(number, depth)?,
            marker::OBJECT => self.object(header, depth)?,
            marker::BYTE_ARRAY => {
                take_bytes(self.rest, number)?;
                Complex::Plain(Value::Undefined)
            }
            marker::VECTOR_INT => self.vector(number, |rest| Ok(f64::from(rest.try_get_i32()?)))?,
            marker::VECTOR_UINT => {
                self.vector(number, |rest| Ok(f64::from(rest.try_get_u32()?)))?
            }
            marker::VECTOR_DOUBLE => self.vector(number, |rest| Ok(rest.try_get_f64()?))?,
            marker::VECTOR_OBJECT => {
                self.rest.try_get_u8()?;
                self.string()?;
                Complex::Array {
                    associative: Vec::new(),
                    dense: self.dense(number, depth)?,
                }
            }
            _ => self.dictionary(number, depth)?,
        };
        if let Some(entry) = self.objects.get_mut(index) {
            *entry = complex;
        }
        Ok(Node::Complex(index))
    }

    /// Returns a variable-length integer of up to 29 bits (section 1.3.1).
    fn u29(&mut self) -> Result<u32, AmfError> {
        let mut value = 0;
        for _ in 0..3 {
            let byte = self.rest.try_get_u8()?;
            value = value << 7 | u32::from(byte & 0x7F);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Ok(value << 8 | u32::from(self.rest.try_get_u8()?))
    }

    fn string(&mut self) -> Result<String, AmfError> {
        let header = self.u29()?;
        let number = (header >> 1) as usize;
        if header & 1 == 0 {
            let string = self.strings.get(number);
            let string = string.ok_or(AmfError::BadReference(number))?;
            self.budget.take_text(string.len())?;
            return Ok(string.clone());
        }
        let string = self.text_of(number)?;
        // The empty string is never sent by reference (section 1.3.2).
        if !string.is_empty() {
            self.budget.take_text(string.len())?;
            self.strings.push(string.clone());
        }
        Ok(string)
    }

    fn text_of(&mut self, len: usize) -> Result<String, AmfError> {
        let bytes = take_bytes(self.rest, len)?;
        self.budget.take_text(len)?;
        Ok(text(bytes))
    }

    /// Reads names and values up to the empty name.
    fn named(&mut self, depth: usize) -> Result<Vec<(String, Node)>, AmfError> {
        let mut members = Vec::new();
        loop {
            let name = self.string()?;
            if name.is_empty() {
                return Ok(members);
            }
            members.push((name, self.value(depth + 1)?));
        }
    }

    fn dense(&mut self, count: usize, depth: usize) -> Result<Vec<Node>, AmfError> {
        let mut values = Vec::new();
        for _ in 0..count {
            values.push(self.value(depth + 1)?);
        }
        Ok(values)
    }

    fn array(&mut self, count: usize, depth: usize) -> Result<Complex, AmfError> {
        Ok(Complex::Array {
            associative: self.named(depth)?,
            dense: self.dense(count, depth)?,
        })
    }

    fn vector(
        &mut self,
        count: usize,
        read: impl Fn(&mut &[u8]) -> Result<f64, AmfError>,
    ) -> Result<Complex, AmfError> {
        // Whether its length is fixed.
        self.rest.try_get_u8()?;
        let mut dense = Vec::new();
        for _ in 0..count {
            self.budget.take(0)?;
            dense.push(Node::Plain(Value::Number(read(self.rest)?)));
        }
        Ok(Complex::Array {
            associative: Vec::new(),
            dense,
        })
    }

    /// Returns a dictionary, of which the members with names are kept.
    fn dictionary(&mut self, count: usize, depth: usize) -> Result<Complex, AmfError> {
        // Whether its keys are weak.
        self.rest.try_get_u8()?;
        let mut members = Vec::new();
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            if let Node::Plain(Value::String(name)) = key {
                members.push((name, value));
            }
        }
        Ok(Complex::Object(members))
    }

    fn object(&mut self, header: u32, depth: usize) -> Result<Complex, AmfError> {
        let traits = self.traits(header)?;
        if traits.wrapper {
            return Ok(Complex::Wrapper(Box::new(self.value(depth + 1)?)));
        }
        let mut members = Vec::new();
        for name in traits.members {
            members.push((name, self.value(depth + 1)?));
        }
        if traits.dynamic {
            members.extend(self.named(depth)?);
        }
        Ok(Complex::Object(members))
    }

    /// Reads the traits in the header of an object:
    ///
    /// ```text
    /// number of traits      0 1
    /// number of members   d 0 1 1   d: others follow
    ///                     0 1 1 1   the class writes itself
    /// ```
    fn traits(&mut self, header: u32) -> Result<Traits, AmfError> {
        if header & 0b10 == 0 {
            let number = (header >> 2) as usize;
            let traits = self.traits.get(number).cloned();
            let traits = traits.ok_or(AmfError::BadReference(number))?;
            for name in &traits.members {
                self.budget.take_text(name.len())?;
            }
            return Ok(traits);
        }
        let class = self.string()?;
        let wrapper = header & 0b100 != 0;
        if wrapper && !WRAPPERS.contains(&class.as_str()) {
            return Err(AmfError::UnknownClass);
        }
        let mut members = Vec::new();
        if !wrapper {
            for _ in 0..header >> 4 {
                self.budget.take(0)?;
                members.push(self.string()?);
            }
        }
        let traits = Traits {
            members,
            dynamic: header & 0b1000 != 0,
            wrapper,
        };
        self.traits.push(traits.clone());
        Ok(traits)
    }
}

/// Replaces indices of the object table by the objects, within the budget.
fn unfold(
    node: &Node,
    objects: &[Complex],
    budget: &mut Budget,
    depth: usize,
) -> Result<Value, AmfError> {
    budget.take(depth)?;
    let index = match node {
        Node::Plain(value) => return copy(value, budget),
        Node::Complex(index) => *index,
    };
    let mut members = |members: &[(String, Node)]| {
        let mut unfolded = Vec::new();
        for (name, node) in members {
            budget.take_text(name.len())?;
            unfolded.push((name.clone(), unfold(node, objects, budget, depth + 1)?));
        }
        Ok::<_, AmfError>(unfolded)
    };
    match objects.get(index) {
        Some(Complex::Plain(value)) => copy(value, budget),
        Some(Complex::Object(named)) => Ok(Value::Object(members(named)?)),
        Some(Complex::Array { associative, dense }) if dense.is_empty() => {
            Ok(Value::EcmaArray(members(associative)?))
        }
        Some(Complex::Array { dense, .. }) => {
            let values = dense
                .iter()
                .map(|node| unfold(node, objects, budget, depth + 1));
            Ok(Value::StrictArray(values.collect::<Result<_, _>>()?))
        }
        Some(Complex::Wrapper(node)) => unfold(node, objects, budget, depth + 1),
        Some(Complex::Open) | None => Err(AmfError::BadReference(index)),
    }
}

fn copy(value: &Value, budget: &mut Budget) -> Result<Value, AmfError> {
    budget.take_text(value.as_str().map_or(0, str::len))?;
    Ok(value.clone())
}

#[cfg(test)]
mod tests;
