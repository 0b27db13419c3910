//! A parameter value as serde sees it, in which single values can be replaced by stand-ins that fit any type.
//! It does not decide what to tell about a mistake.

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use super::fault::{Fault, Mistake, told};

/// A parameter value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Param<'a> {
    /// Anything but a list or a map.
    Scalar(&'a Value),
    List(Vec<Param<'a>>),
    Map(Vec<(&'a str, Param<'a>)>),
    /// Reads as some value of whatever type is asked for.
    StandIn,
    /// As if it were not there: what a stand-in becomes where it does not fit, since a default may.
    LeftOut,
}

impl<'a> From<&'a Value> for Param<'a> {
    fn from(value: &'a Value) -> Param<'a> {
        match value {
            Value::Array(items) => Param::List(items.iter().map(Param::from).collect()),
            Value::Object(map) => {
                Param::Map(map.iter().map(|(key, value)| (key.as_str(), value.into())).collect())
            }
            scalar => Param::Scalar(scalar),
        }
    }
}

impl<'a> Param<'a> {
    /// Whether a fault comes from a stand-in, not from what somebody wrote.
    pub fn explains(&mut self, fault: &Fault) -> bool {
        match (self.at(&fault.path), &fault.mistake) {
            (None, _) => true,
            (Some(Param::Map(entries)), Mistake::Missing { name }) => {
                entries.iter().any(|(key, _)| key == name)
            }
            (Some(_), Mistake::Unknown { .. } | Mistake::Missing { .. }) => false,
            (Some(param), _) => param.has_stand_in(),
        }
    }

    /// Whether at a path stands what somebody wrote, and nothing in its place.
    pub fn is_original(&mut self, path: &[String]) -> bool {
        self.at(path).is_some_and(|param| !param.has_stand_in())
    }

    /// Changes what a fault is about, so that reading gets past it; false if nothing is left to change.
    pub fn amend(&mut self, fault: &Fault) -> bool {
        match (self.at(&fault.path), &fault.mistake) {
            (Some(Param::Map(entries)), Mistake::Unknown { name, .. }) => {
                entries.retain(|(key, _)| key != name);
                return true;
            }
            (Some(Param::Map(entries)), Mistake::Missing { name })
                if entries.iter().all(|(key, _)| key != name) =>
            {
                entries.push((name, Param::StandIn));
                return true;
            }
            _ => {}
        }
        let lengths = (0..=fault.path.len()).rev();
        for length in lengths {
            match self.at(&fault.path[..length]) {
                None | Some(Param::LeftOut) => {}
                Some(param) => {
                    *param = if *param == Param::StandIn { Param::LeftOut } else { Param::StandIn };
                    return true;
                }
            }
        }
        false
    }

    fn at(&mut self, path: &[String]) -> Option<&mut Param<'a>> {
        let Some((step, rest)) = path.split_first() else { return Some(self) };
        match self {
            Param::Map(entries) => entries.iter_mut().find(|(key, _)| key == step)?.1.at(rest),
            Param::List(items) => items.get_mut(step.parse::<usize>().ok()?)?.at(rest),
            Param::Scalar(_) | Param::StandIn | Param::LeftOut => None,
        }
    }

    fn has_stand_in(&self) -> bool {
        match self {
            Param::StandIn | Param::LeftOut => true,
            Param::Scalar(_) => false,
            Param::List(items) => items.iter().any(Param::has_stand_in),
            Param::Map(entries) => entries.iter().any(|(_, param)| param.has_stand_in()),
        }
    }

    fn unexpected(&self) -> Unexpected<'_> {
        match self {
            Param::Scalar(Value::Bool(truth)) => Unexpected::Bool(*truth),
            Param::Scalar(Value::String(text)) => Unexpected::Str(text),
            Param::Scalar(Value::Number(number)) => match (number.as_u64(), number.as_i64()) {
                (Some(whole), _) => Unexpected::Unsigned(whole),
                (_, Some(whole)) => Unexpected::Signed(whole),
                _ => Unexpected::Float(number.as_f64().unwrap_or_default()),
            },
            Param::List(_) => Unexpected::Seq,
            Param::Map(_) => Unexpected::Map,
            Param::Scalar(_) | Param::StandIn | Param::LeftOut => Unexpected::Unit,
        }
    }
}

macro_rules! stand_in_or_any {
    ($($method:ident => $visit:ident($value:expr)),+ $(,)?) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
            match self {
                Param::StandIn | Param::LeftOut => visitor.$visit($value),
                param => param.deserialize_any(visitor),
            }
        })+
    };
}

impl<'de> Deserializer<'de> for &Param<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            // Of several forms that are tried one after the other, a text is the likeliest.
            Param::StandIn | Param::LeftOut => visitor.visit_str("x"),
            Param::Scalar(scalar) => match scalar {
                Value::Bool(truth) => visitor.visit_bool(*truth),
                Value::String(text) => visitor.visit_str(text),
                Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                    (Some(whole), _) => visitor.visit_u64(whole),
                    (_, Some(whole)) => visitor.visit_i64(whole),
                    _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
                },
                Value::Null | Value::Array(_) | Value::Object(_) => visitor.visit_unit(),
            },
            Param::List(items) => {
                let mut access = Items { items, next: 0 };
                let value = visitor.visit_seq(&mut access)?;
                let (read, given) = (access.next, items.len());
                if read < given {
                    return Err(de::Error::custom(format!("expected a list of {read}, found {given}")));
                }
                Ok(value)
            }
            Param::Map(entries) => visitor.visit_map(Entries { entries, next: 0 }),
        }
    }

    stand_in_or_any! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_u64(1),
        deserialize_i16 => visit_u64(1),
        deserialize_i32 => visit_u64(1),
        deserialize_i64 => visit_u64(1),
        deserialize_u8 => visit_u64(1),
        deserialize_u16 => visit_u64(1),
        deserialize_u32 => visit_u64(1),
        deserialize_u64 => visit_u64(1),
        deserialize_f32 => visit_f64(1.0),
        deserialize_f64 => visit_f64(1.0),
        deserialize_char => visit_char('x'),
        deserialize_str => visit_str("x"),
        deserialize_string => visit_str("x"),
        deserialize_seq => visit_seq(Items { items: &[], next: 0 }),
        deserialize_map => visit_map(Entries { entries: &[], next: 0 }),
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Param::StandIn | Param::LeftOut | Param::Scalar(Value::Null) => visitor.visit_none(),
            param => visitor.visit_some(param),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        match self {
            Param::StandIn | Param::LeftOut => {
                visitor.visit_seq(Items { items: &vec![Param::StandIn; length], next: 0 })
            }
            param => param.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Fault> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        match self {
            Param::StandIn | Param::LeftOut => {
                let entries: Vec<_> = fields.iter().map(|&field| (field, Param::StandIn)).collect();
                visitor.visit_map(Entries { entries: &entries, next: 0 })
            }
            // Serde would fill the fields from the list, in an order that no user knows.
            Param::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &visitor)),
            param => param.deserialize_any(visitor),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let stand_in = &Param::StandIn;
        match self {
            Param::StandIn | Param::LeftOut => {
                let name = variants.first().copied().unwrap_or_default();
                visitor.visit_enum(Choice { name, content: Some(stand_in) })
            }
            Param::Scalar(Value::String(name)) => visitor.visit_enum(Choice { name, content: None }),
            Param::Map(entries) => match entries.as_slice() {
                [(name, content)] => visitor
                    .visit_enum(Choice { name, content: Some(content) })
                    .map_err(|fault| fault.under(*name)),
                entries => match entries.iter().find(|(name, _)| !variants.contains(name)) {
                    Some((name, _)) => Err(de::Error::unknown_variant(name, variants)),
                    None => {
                        let found: Vec<String> =
                            entries.iter().map(|(name, _)| format!("`{name}`")).collect();
                        let found = if found.is_empty() { "none".into() } else { found.join(" and ") };
                        Err(de::Error::custom(format!("expected exactly one entry, found {found}")))
                    }
                },
            },
            other => {
                let names: Vec<String> = variants.iter().map(|name| format!("`{name}`")).collect();
                let found = told(other.unexpected());
                Err(de::Error::custom(format!("expected one of {}, found {found}", names.join(", "))))
            }
        }
    }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct identifier ignored_any }
}

struct Items<'a> {
    items: &'a [Param<'a>],
    next: usize,
}

impl<'de> SeqAccess<'de> for Items<'_> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        let Some(item) = self.items.get(self.next) else { return Ok(None) };
        let value = seed.deserialize(item).map_err(|fault| fault.under(self.next.to_string()))?;
        self.next += 1;
        Ok(Some(value))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len() - self.next)
    }
}

struct Entries<'a> {
    entries: &'a [(&'a str, Param<'a>)],
    next: usize,
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        let left = self.entries[self.next..].iter();
        self.next += left.take_while(|(_, param)| *param == Param::LeftOut).count();
        let Some((key, _)) = self.entries.get(self.next) else { return Ok(None) };
        self.next += 1;
        seed.deserialize(text(key)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let (key, param) = &self.entries[self.next - 1];
        seed.deserialize(param).map_err(|fault| fault.under(*key))
    }
}

/// One variant of an enum, by name, with what stands behind it.
struct Choice<'a> {
    name: &'a str,
    content: Option<&'a Param<'a>>,
}

impl<'de, 'a> EnumAccess<'de> for Choice<'a> {
    type Error = Fault;
    type Variant = Choice<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Choice<'a>), Fault> {
        Ok((seed.deserialize(text(self.name))?, self))
    }
}

impl<'a> Choice<'a> {
    fn content(&self) -> Result<&'a Param<'a>, Fault> {
        self.content.ok_or_else(|| de::Error::custom(format!("`{0}` needs a value: `{0}: ..`", self.name)))
    }
}

impl<'de> VariantAccess<'de> for Choice<'_> {
    type Error = Fault;

    fn unit_variant(self) -> Result<(), Fault> {
        match self.content {
            None | Some(Param::StandIn | Param::LeftOut | Param::Scalar(Value::Null)) => Ok(()),
            Some(_) => {
                let message = format!("`{0}` takes no value; write `{0}` in place of the map", self.name);
                Err(de::Error::custom(message))
            }
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Fault> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Fault> {
        self.content()?.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        // A choice whose parameters all have defaults may stand alone.
        let nothing = Param::Map(vec![]);
        self.content.unwrap_or(&nothing).deserialize_struct("", fields, visitor)
    }
}

fn text(text: &str) -> StrDeserializer<'_, Fault> {
    text.into_deserializer()
}
