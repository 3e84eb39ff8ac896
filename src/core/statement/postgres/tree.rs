//! The parse tree in one generic shape, so that a walk can miss no node and no field.
//!
//! `pg_query` gives 270 structs. They all know how to serialise themselves, so a serialiser that
//! keeps names and values sees every one of them, those of later versions included.

use std::fmt;

use serde::ser::{self, Serialize};

/// A value in the tree.
#[derive(Debug, PartialEq)]
pub(super) enum Tree {
    /// Nothing there.
    None,
    /// A flag.
    Bool(bool),
    /// A number; enumerations are numbers too.
    Int(i64),
    /// Text.
    Text(String),
    /// Several values.
    List(Vec<Tree>),
    /// A node with its name and fields.
    Node(&'static str, Vec<(&'static str, Tree)>),
}

/// What a missing field reads as.
const NOTHING: &Tree = &Tree::None;

impl Tree {
    /// Makes a tree of anything that `pg_query` parsed.
    pub(super) fn of(value: &impl Serialize) -> Result<Self, Unshaped> {
        value.serialize(Shape)
    }

    /// The node's name; empty for what is no node.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Node(name, _) => name,
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::List(_) => "",
        }
    }

    /// A field of a node.
    pub(super) fn field(&self, wanted: &str) -> &Self {
        self.fields()
            .iter()
            .find(|(name, _)| *name == wanted)
            .map_or(NOTHING, |(_, value)| value)
    }

    /// All fields of a node.
    pub(super) fn fields(&self) -> &[(&'static str, Self)] {
        match self {
            Self::Node(_, fields) => fields,
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::List(_) => &[],
        }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            Self::None | Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::Node(..) => &[],
        }
    }

    /// Text, or the text of a `String` node; empty otherwise.
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Node("String", _) => self.field("sval").text(),
            Self::None | Self::Bool(_) | Self::Int(_) | Self::List(_) | Self::Node(..) => "",
        }
    }

    /// A number; 0 otherwise.
    pub(super) fn int(&self) -> i64 {
        match self {
            Self::Int(number) => *number,
            Self::None | Self::Bool(_) | Self::Text(_) | Self::List(_) | Self::Node(..) => 0,
        }
    }

    /// Whether this is a flag that is set.
    pub(super) fn is_set(&self) -> bool {
        *self == Self::Bool(true)
    }

    /// Whether there is anything here.
    pub(super) fn is_some(&self) -> bool {
        match self {
            Self::None => false,
            Self::List(items) => !items.is_empty(),
            Self::Bool(_) | Self::Int(_) | Self::Text(_) | Self::Node(..) => true,
        }
    }

    /// The texts of a list of `String` nodes: a dotted name.
    pub(super) fn path(&self) -> Vec<&str> {
        self.items()
            .iter()
            .map(Self::text)
            .filter(|t| !t.is_empty())
            .collect()
    }
}

/// A value that no parse tree holds.
#[derive(Debug)]
pub(super) struct Unshaped;

impl fmt::Display for Unshaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the parse tree has a shape that is not known")
    }
}

impl std::error::Error for Unshaped {}

impl ser::Error for Unshaped {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self
    }
}

#[derive(Clone, Copy)]
struct Shape;

/// A list that is being filled.
struct Items(Vec<Tree>);

/// A node that is being filled.
struct Fields(&'static str, Vec<(&'static str, Tree)>);

impl ser::Serializer for Shape {
    type Ok = Tree;
    type Error = Unshaped;
    type SerializeSeq = Items;
    type SerializeStruct = Fields;
    type SerializeTuple = ser::Impossible<Tree, Unshaped>;
    type SerializeTupleStruct = ser::Impossible<Tree, Unshaped>;
    type SerializeTupleVariant = ser::Impossible<Tree, Unshaped>;
    type SerializeMap = ser::Impossible<Tree, Unshaped>;
    type SerializeStructVariant = ser::Impossible<Tree, Unshaped>;

    fn serialize_bool(self, v: bool) -> Result<Tree, Unshaped> {
        Ok(Tree::Bool(v))
    }
    fn serialize_i8(self, v: i8) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_i16(self, v: i16) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_i32(self, v: i32) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_i64(self, v: i64) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v))
    }
    fn serialize_u8(self, v: u8) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_u16(self, v: u16) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_u32(self, v: u32) -> Result<Tree, Unshaped> {
        Ok(Tree::Int(v.into()))
    }
    fn serialize_u64(self, v: u64) -> Result<Tree, Unshaped> {
        i64::try_from(v).map(Tree::Int).map_err(|_| Unshaped)
    }
    fn serialize_f32(self, _: f32) -> Result<Tree, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_f64(self, _: f64) -> Result<Tree, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_char(self, v: char) -> Result<Tree, Unshaped> {
        Ok(Tree::Text(v.into()))
    }
    fn serialize_str(self, v: &str) -> Result<Tree, Unshaped> {
        Ok(Tree::Text(v.to_owned()))
    }
    fn serialize_bytes(self, _: &[u8]) -> Result<Tree, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_none(self) -> Result<Tree, Unshaped> {
        Ok(Tree::None)
    }
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, Unshaped> {
        value.serialize(self)
    }
    fn serialize_unit(self) -> Result<Tree, Unshaped> {
        Ok(Tree::None)
    }
    fn serialize_unit_struct(self, name: &'static str) -> Result<Tree, Unshaped> {
        Ok(Tree::Node(name, Vec::new()))
    }
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        name: &'static str,
    ) -> Result<Tree, Unshaped> {
        Ok(Tree::Node(name, Vec::new()))
    }
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, Unshaped> {
        value.serialize(self)
    }
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, Unshaped> {
        // The variant is named like the struct it holds.
        value.serialize(self)
    }
    fn serialize_seq(self, len: Option<usize>) -> Result<Items, Unshaped> {
        Ok(Items(Vec::with_capacity(len.unwrap_or_default())))
    }
    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Unshaped> {
        Err(Unshaped)
    }
    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Fields, Unshaped> {
        Ok(Fields(name, Vec::with_capacity(len)))
    }
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unshaped> {
        Err(Unshaped)
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Tree;
    type Error = Unshaped;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unshaped> {
        self.0.push(value.serialize(Shape)?);
        Ok(())
    }
    fn end(self) -> Result<Tree, Unshaped> {
        Ok(Tree::List(self.0))
    }
}

impl ser::SerializeStruct for Fields {
    type Ok = Tree;
    type Error = Unshaped;

    fn serialize_field<T: Serialize + ?Sized>(
        &mut self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Unshaped> {
        let value = value.serialize(Shape)?;
        if value.is_some() {
            self.1.push((name, value));
        }
        Ok(())
    }
    fn end(self) -> Result<Tree, Unshaped> {
        match (self.0, self.1) {
            // A wrapper around the one node it holds.
            ("Node", mut fields) => Ok(fields.pop().map_or(Tree::None, |(_, node)| node)),
            (name, fields) => Ok(Tree::Node(name, fields)),
        }
    }
}
