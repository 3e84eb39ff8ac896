//! The parsed tree of a query, by an allow-list: every field of every node is looked at, and what
//! is not known to be a plain read counts as the worst effect.

use std::collections::BTreeSet;

use sqlparser::ast;
use sqlparser::dialect::MySqlDialect;
use sqlparser::parser::Parser;

use super::expression::Expressions;
use crate::core::statement::{Effect, Name, Statement};

/// How deep the parser may nest. Deeper text is judged by its tokens, which needs no recursion.
const DEPTH: usize = 400;

/// Parses the canonical text of a query. `None` when the parser does not understand it.
pub(super) fn parse(canonical: &str) -> Option<ast::Query> {
    let mut statements = Parser::new(&MySqlDialect {})
        .with_recursion_limit(DEPTH)
        .try_with_sql(canonical)
        .ok()?
        .parse_statements()
        .ok()?;
    match (statements.pop(), statements.is_empty()) {
        (Some(ast::Statement::Query(query)), true) => Some(*query),
        _ => None,
    }
}

/// Records everything a query reads, calls and does.
pub(super) fn judge(query: &ast::Query, out: &mut Statement) {
    let mut walker = Walker {
        out,
        scopes: Vec::new(),
    };
    walker.query(query);
}

/// Walks a tree and records what it finds.
pub(super) struct Walker<'s> {
    pub(super) out: &'s mut Statement,
    /// Names of the table expressions that are visible here, innermost last.
    scopes: Vec<BTreeSet<String>>,
}

impl Walker<'_> {
    pub(super) fn unknown(&mut self, what: &str) {
        let because = format!("uses {what}, which is not understood");
        self.out.worsen(Effect::Admin, because);
    }

    fn known(&mut self, fine: bool, what: &str) {
        if !fine {
            self.unknown(what);
        }
    }

    pub(super) fn query(&mut self, query: &ast::Query) {
        let ast::Query {
            with,
            body,
            order_by,
            limit_clause,
            fetch,
            locks,
            for_clause,
            settings,
            format_clause,
            pipe_operators,
        } = query;
        self.scopes.push(BTreeSet::new());
        if let Some(with) = with {
            self.with(with);
        }
        self.set(body);
        if let Some(order) = order_by {
            self.order(order);
        }
        if let Some(limit) = limit_clause {
            self.limit(limit);
        }
        if let Some(quantity) = fetch.as_ref().and_then(|f| f.quantity.as_ref()) {
            self.expression(quantity);
        }
        if !locks.is_empty() {
            self.out.worsen(Effect::Write, "locks the rows it reads");
        }
        let plain = for_clause.is_none() && settings.is_none() && format_clause.is_none();
        self.known(
            plain && pipe_operators.is_empty(),
            "a clause after the query",
        );
        self.scopes.pop();
    }

    fn with(&mut self, with: &ast::With) {
        for cte in &with.cte_tables {
            let ast::Cte {
                alias,
                query,
                from,
                materialized,
                closing_paren_token: _,
            } = cte;
            self.known(
                from.is_none() && materialized.is_none(),
                "a clause of a table expression",
            );
            // Seen by what follows; by itself only when recursive.
            if with.recursive {
                self.declare(&alias.name.value);
            }
            self.query(query);
            self.declare(&alias.name.value);
        }
    }

    fn declare(&mut self, name: &str) {
        if let Some(scope) = self.scopes.last_mut() {
            scope.insert(name.to_owned());
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: what sqlparser adds later is unknown until somebody looks at it"
    )]
    fn set(&mut self, body: &ast::SetExpr) {
        match body {
            ast::SetExpr::Select(select) => self.select(select),
            ast::SetExpr::Query(query) => self.query(query),
            ast::SetExpr::SetOperation {
                left,
                op: _,
                set_quantifier: _,
                right,
            } => {
                self.set(left);
                self.set(right);
            }
            ast::SetExpr::Values(values) => {
                for row in &values.rows {
                    self.expressions(&row.content);
                }
            }
            ast::SetExpr::Table(table) => match (&table.schema_name, &table.table_name) {
                (schema, Some(name)) => self.relation(schema.as_deref(), name),
                (_, None) => self.unknown("TABLE without a name"),
            },
            _ => self.unknown("a change inside a query"),
        }
    }

    fn select(&mut self, select: &ast::Select) {
        self.select_oddities(select);
        for item in &select.projection {
            self.item(item);
        }
        for table in &select.from {
            self.table_with_joins(table);
        }
        self.expressions(&select.selection);
        match &select.group_by {
            ast::GroupByExpr::All(_) => self.unknown("GROUP BY ALL"),
            ast::GroupByExpr::Expressions(list, modifiers) => {
                self.expressions(list);
                self.known(modifiers.is_empty(), "a modifier of GROUP BY");
            }
        }
        self.expressions(&select.having);
        for ast::NamedWindowDefinition(_, window) in &select.named_window {
            if let ast::NamedWindowExpr::WindowSpec(window) = window {
                self.window(window);
            }
        }
    }

    /// The clauses of other databases; every field that [`Self::select`] does not walk.
    fn select_oddities(&mut self, select: &ast::Select) {
        let ast::Select {
            select_token: _,
            optimizer_hints,
            distinct,
            select_modifiers: _,
            top,
            top_before_distinct: _,
            projection: _,
            exclude,
            into,
            from: _,
            lateral_views,
            prewhere,
            selection: _,
            connect_by,
            group_by: _,
            cluster_by,
            distribute_by,
            sort_by,
            having: _,
            named_window: _,
            qualify,
            window_before_qualify: _,
            value_table_mode,
            flavor,
        } = select;
        if into.is_some() {
            self.out
                .worsen(Effect::Admin, "puts its rows somewhere else");
        }
        let plain = optimizer_hints.is_empty()
            && !matches!(distinct, Some(ast::Distinct::On(_)))
            && top.is_none()
            && exclude.is_none()
            && lateral_views.is_empty()
            && prewhere.is_none()
            && connect_by.is_empty()
            && cluster_by.is_empty()
            && distribute_by.is_empty()
            && sort_by.is_empty()
            && qualify.is_none()
            && value_table_mode.is_none()
            && *flavor == ast::SelectFlavor::Standard;
        self.known(plain, "a clause of another database");
    }

    fn item(&mut self, item: &ast::SelectItem) {
        match item {
            ast::SelectItem::UnnamedExpr(expr)
            | ast::SelectItem::ExprWithAlias { expr, alias: _ } => {
                self.expression(expr);
            }
            ast::SelectItem::ExprWithAliases { .. } => self.unknown("several aliases"),
            ast::SelectItem::QualifiedWildcard(kind, options) => {
                if let ast::SelectItemQualifiedWildcardKind::Expr(expr) = kind {
                    self.expression(expr);
                }
                self.wildcard(options);
            }
            ast::SelectItem::Wildcard(options) => self.wildcard(options),
        }
    }

    pub(super) fn wildcard(&mut self, options: &ast::WildcardAdditionalOptions) {
        let ast::WildcardAdditionalOptions {
            wildcard_token: _,
            opt_ilike,
            opt_exclude,
            opt_except,
            opt_replace,
            opt_rename,
            opt_alias,
        } = options;
        let plain = opt_ilike.is_none()
            && opt_exclude.is_none()
            && opt_except.is_none()
            && opt_replace.is_none()
            && opt_rename.is_none()
            && opt_alias.is_none();
        self.known(plain, "an option of *");
    }

    fn table_with_joins(&mut self, table: &ast::TableWithJoins) {
        self.table(&table.relation);
        for join in &table.joins {
            self.table(&join.relation);
            self.known(!join.global, "GLOBAL JOIN");
            self.join(&join.join_operator);
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: what sqlparser adds later is unknown until somebody looks at it"
    )]
    fn join(&mut self, operator: &ast::JoinOperator) {
        use ast::JoinOperator as Op;
        match operator {
            Op::Join(on)
            | Op::Inner(on)
            | Op::Left(on)
            | Op::LeftOuter(on)
            | Op::Right(on)
            | Op::RightOuter(on)
            | Op::FullOuter(on)
            | Op::CrossJoin(on)
            | Op::StraightJoin(on) => match on {
                ast::JoinConstraint::On(expr) => self.expression(expr),
                ast::JoinConstraint::Using(_)
                | ast::JoinConstraint::Natural
                | ast::JoinConstraint::None => {}
            },
            _ => self.unknown("a join of another database"),
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "an allow-list: what sqlparser adds later is unknown until somebody looks at it"
    )]
    fn table(&mut self, table: &ast::TableFactor) {
        match table {
            ast::TableFactor::Table {
                name,
                alias: _,
                args,
                with_hints,
                version,
                with_ordinality,
                partitions: _,
                json_path,
                sample,
                index_hints: _,
            } => {
                let plain = args.is_none()
                    && with_hints.is_empty()
                    && version.is_none()
                    && !with_ordinality
                    && json_path.is_none()
                    && sample.is_none();
                self.known(plain, "a clause after a table");
                self.object(name);
            }
            ast::TableFactor::Derived {
                lateral: _,
                subquery,
                alias: _,
                sample,
            } => {
                self.known(sample.is_none(), "TABLESAMPLE");
                self.query(subquery);
            }
            ast::TableFactor::JsonTable {
                json_expr,
                json_path: _,
                columns: _,
                alias: _,
            } => self.expression(json_expr),
            ast::TableFactor::NestedJoin {
                table_with_joins,
                alias: _,
            } => self.table_with_joins(table_with_joins),
            _ => self.unknown("a table of another database"),
        }
    }

    fn object(&mut self, name: &ast::ObjectName) {
        let parts: Option<Vec<&str>> = name
            .0
            .iter()
            .map(|part| part.as_ident().map(|ident| ident.value.as_str()))
            .collect();
        match parts.as_deref() {
            Some([name]) => self.relation(None, name),
            Some([schema, name]) => self.relation(Some(schema), name),
            _ => self.unknown("a name of several parts"),
        }
    }

    fn relation(&mut self, schema: Option<&str>, name: &str) {
        let Some(schema) = schema else {
            let declared = self.scopes.iter().any(|scope| scope.contains(name));
            if !declared && !name.eq_ignore_ascii_case("dual") {
                self.out.reads.insert(Name::bare(name));
            }
            return;
        };
        self.out.reads.insert(Name::qualified(schema, name));
    }

    fn order(&mut self, order: &ast::OrderBy) {
        self.known(order.interpolate.is_none(), "INTERPOLATE");
        match &order.kind {
            ast::OrderByKind::All(_) => self.unknown("ORDER BY ALL"),
            ast::OrderByKind::Expressions(list) => self.order_list(list),
        }
    }

    pub(super) fn order_list(&mut self, list: &[ast::OrderByExpr]) {
        for item in list {
            self.known(item.with_fill.is_none(), "WITH FILL");
            self.expression(&item.expr);
        }
    }

    fn limit(&mut self, limit: &ast::LimitClause) {
        match limit {
            ast::LimitClause::LimitOffset {
                limit,
                offset,
                limit_by,
            } => {
                self.expressions(limit);
                self.expressions(offset.as_ref().map(|o| &o.value));
                self.known(limit_by.is_empty(), "LIMIT BY");
            }
            ast::LimitClause::OffsetCommaLimit { offset, limit } => {
                self.expression(offset);
                self.expression(limit);
            }
        }
    }

    pub(super) fn window(&mut self, window: &ast::WindowSpec) {
        let ast::WindowSpec {
            window_name: _,
            partition_by,
            order_by,
            window_frame,
        } = window;
        self.expressions(partition_by);
        self.order_list(order_by);
        if let Some(frame) = window_frame {
            self.bound(&frame.start_bound);
            if let Some(end) = &frame.end_bound {
                self.bound(end);
            }
        }
    }

    fn bound(&mut self, bound: &ast::WindowFrameBound) {
        match bound {
            ast::WindowFrameBound::CurrentRow => {}
            ast::WindowFrameBound::Preceding(expr) | ast::WindowFrameBound::Following(expr) => {
                self.expressions(expr.as_deref());
            }
        }
    }
}
