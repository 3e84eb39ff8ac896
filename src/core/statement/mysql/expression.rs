//! The expressions of a parsed query, by the same allow-list as the rest of the tree.

use sqlparser::ast;
use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator};

use super::query::Walker;
use super::scan;

/// Walking expressions.
pub(super) trait Expressions {
    /// Walks one expression.
    fn expression(&mut self, expr: &Expr);

    /// Walks several, or one that may be absent.
    fn expressions<'e>(&mut self, list: impl IntoIterator<Item = &'e Expr>) {
        for expr in list {
            self.expression(expr);
        }
    }
}

impl Expressions for Walker<'_> {
    fn expression(&mut self, expr: &Expr) {
        // Long chains such as `a + b + c` are deep on the left; they need no recursion here.
        let mut expr = expr;
        while let Expr::BinaryOp { left, op, right } = expr {
            if !is_plain(op) {
                self.unknown("an operator of another database");
            }
            self.expression(right);
            expr = left;
        }
        self.operand(expr);
    }
}

impl Walker<'_> {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: what sqlparser adds later is unknown until somebody looks at it"
    )]
    fn operand(&mut self, expr: &Expr) {
        match expr {
            Expr::Identifier(_)
            | Expr::CompoundIdentifier(_)
            | Expr::Value(_)
            | Expr::TypedString(_)
            | Expr::Wildcard(_)
            | Expr::QualifiedWildcard(..)
            | Expr::MatchAgainst { .. } => {}
            Expr::IsFalse(inner)
            | Expr::IsNotFalse(inner)
            | Expr::IsTrue(inner)
            | Expr::IsNotTrue(inner)
            | Expr::IsNull(inner)
            | Expr::IsNotNull(inner)
            | Expr::IsUnknown(inner)
            | Expr::IsNotUnknown(inner)
            | Expr::Nested(inner)
            | Expr::Collate { expr: inner, .. }
            | Expr::Prefixed { value: inner, .. }
            | Expr::Extract { expr: inner, .. }
            | Expr::Ceil { expr: inner, .. }
            | Expr::Floor { expr: inner, .. }
            | Expr::Cast { expr: inner, .. } => self.expression(inner),
            Expr::Interval(interval) => self.expression(&interval.value),
            Expr::UnaryOp { op, expr } => {
                if !matches!(
                    op,
                    UnaryOperator::Plus | UnaryOperator::Minus | UnaryOperator::Not
                ) {
                    self.unknown("an operator of another database");
                }
                self.expression(expr);
            }
            Expr::InSubquery { expr, subquery, .. } => {
                self.expression(expr);
                self.query(subquery);
            }
            Expr::Exists { subquery, .. } | Expr::Subquery(subquery) => self.query(subquery),
            Expr::Function(function) => self.function(function),
            Expr::Tuple(list) => self.expressions(list),
            _ => self.compound(expr),
        }
    }

    /// Expressions of several parts.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: what sqlparser adds later is unknown until somebody looks at it"
    )]
    fn compound(&mut self, expr: &Expr) {
        match expr {
            Expr::InList { expr, list, .. } => {
                self.expression(expr);
                self.expressions(list);
            }
            Expr::Between {
                expr, low, high, ..
            } => self.expressions([&**expr, &**low, &**high]),
            Expr::Like {
                expr,
                pattern,
                escape_char,
                ..
            } => {
                self.expressions([&**expr, &**pattern]);
                self.expressions(escape_char.as_deref());
            }
            Expr::AnyOp { left, right, .. } | Expr::AllOp { left, right, .. } => {
                self.expressions([&**left, &**right]);
            }
            Expr::Convert { expr, styles, .. } => {
                self.expression(expr);
                self.expressions(styles);
            }
            Expr::Position { expr, r#in } => self.expressions([&**expr, &**r#in]),
            Expr::Substring {
                expr,
                substring_from,
                substring_for,
                ..
            } => {
                self.expression(expr);
                self.expressions(substring_from.as_deref());
                self.expressions(substring_for.as_deref());
            }
            Expr::Trim {
                expr,
                trim_what,
                trim_characters,
                ..
            } => {
                self.expression(expr);
                self.expressions(trim_what.as_deref());
                self.expressions(trim_characters.iter().flatten());
            }
            _ => self.branches(expr),
        }
    }

    /// The rest.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: what sqlparser adds later is unknown until somebody looks at it"
    )]
    fn branches(&mut self, expr: &Expr) {
        match expr {
            Expr::Case {
                operand,
                conditions,
                else_result,
                ..
            } => {
                self.expressions(operand.as_deref());
                for when in conditions {
                    self.expressions([&when.condition, &when.result]);
                }
                self.expressions(else_result.as_deref());
            }
            Expr::MemberOf(member) => self.expressions([&*member.value, &*member.array]),
            _ => self.unknown("an expression of another database"),
        }
    }

    fn function(&mut self, function: &ast::Function) {
        let ast::Function {
            name,
            uses_odbc_syntax,
            parameters,
            args,
            within_group,
            filter,
            null_treatment: _,
            over,
        } = function;
        self.call(name);
        if *uses_odbc_syntax || *parameters != ast::FunctionArguments::None || filter.is_some() {
            self.unknown("a call of another database");
        }
        match args {
            ast::FunctionArguments::None => {}
            ast::FunctionArguments::Subquery(query) => self.query(query),
            ast::FunctionArguments::List(list) => self.arguments(list),
        }
        self.order_list(within_group);
        if let Some(ast::WindowType::WindowSpec(window)) = over {
            self.window(window);
        }
    }

    fn call(&mut self, name: &ast::ObjectName) {
        let parts: Option<Vec<&str>> = name
            .0
            .iter()
            .map(|part| part.as_ident().map(|ident| ident.value.as_str()))
            .collect();
        match parts.as_deref() {
            Some([name]) => scan::call(None, name, self.out),
            Some([schema, name]) => scan::call(Some(schema), name, self.out),
            _ => self.unknown("a function name of several parts"),
        }
    }

    fn arguments(&mut self, list: &ast::FunctionArgumentList) {
        for argument in &list.args {
            match argument {
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::Expr(expr)) => {
                    self.expression(expr);
                }
                ast::FunctionArg::Unnamed(
                    ast::FunctionArgExpr::Wildcard | ast::FunctionArgExpr::QualifiedWildcard(_),
                ) => {}
                ast::FunctionArg::Unnamed(ast::FunctionArgExpr::WildcardWithOptions(options)) => {
                    self.wildcard(options);
                }
                ast::FunctionArg::Named { .. } | ast::FunctionArg::ExprNamed { .. } => {
                    self.unknown("a named argument");
                }
            }
        }
        for clause in &list.clauses {
            match clause {
                ast::FunctionArgumentClause::OrderBy(list) => self.order_list(list),
                ast::FunctionArgumentClause::Limit(expr) => self.expression(expr),
                ast::FunctionArgumentClause::Separator(_)
                | ast::FunctionArgumentClause::IgnoreOrRespectNulls(_)
                | ast::FunctionArgumentClause::JsonNullClause(_)
                | ast::FunctionArgumentClause::JsonReturningClause(_) => {}
                ast::FunctionArgumentClause::Where(_)
                | ast::FunctionArgumentClause::OnOverflow(_)
                | ast::FunctionArgumentClause::Having(_) => self.unknown("a clause in a call"),
            }
        }
    }
}

fn is_plain(operator: &BinaryOperator) -> bool {
    matches!(
        operator,
        BinaryOperator::Plus
            | BinaryOperator::Minus
            | BinaryOperator::Multiply
            | BinaryOperator::Divide
            | BinaryOperator::Modulo
            | BinaryOperator::Gt
            | BinaryOperator::Lt
            | BinaryOperator::GtEq
            | BinaryOperator::LtEq
            | BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::And
            | BinaryOperator::Or
            | BinaryOperator::BitwiseOr
            | BinaryOperator::BitwiseAnd
            | BinaryOperator::BitwiseXor
            | BinaryOperator::PGBitwiseShiftLeft
            | BinaryOperator::PGBitwiseShiftRight
            | BinaryOperator::Arrow
            | BinaryOperator::LongArrow
    )
}
