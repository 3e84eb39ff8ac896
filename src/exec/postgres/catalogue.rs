//! The snapshot of a target's catalogue that the judgement stands on. It is never older than a
//! minute, and read again at once when a statement names what it does not have.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;
use tokio_postgres::{Error, Row};

use super::Postgres;
use super::errors;
use super::nearest::{hint, nearest};
use super::session::{BELIEVED, Session};
use crate::core::refusal::{Code, Refusal};
use crate::core::statement::postgres::catalogue::{
    Cast, Catalogue, Function, Operator, Relation, Type,
};
use crate::core::statement::postgres::functions::harmless;
use crate::core::statement::postgres::resolve::{Resolved, Unknown, resolve};
use crate::core::statement::{Effect, Name, Statement};

/// A name that is missing has the catalogue read again, at most this often.
const AGAIN: Duration = Duration::from_secs(1);
/// Judgements remembered with a snapshot.
const REMEMBERED: usize = 1_000;

/// The catalogue as it was last read, and what was judged by it.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
struct State {
    catalogue: Arc<Catalogue>,
    read_at: Instant,
    judged: HashMap<String, Arc<Statement>>,
}

impl Snapshot {
    /// Judges a statement by the catalogue; the outcome is never better than the statement.
    pub(super) async fn judge(
        &self,
        postgres: &Postgres,
        statement: Arc<Statement>,
        sql: &str,
    ) -> Result<Arc<Statement>, Refusal> {
        let names = &statement.names;
        if statement.reads.is_empty()
            && statement.writes.is_empty()
            && names.functions.is_empty()
            && names.operators.is_empty()
            && names.types.is_empty()
            && names.overloads.is_empty()
            && names.selections.is_empty()
        {
            return Ok(statement);
        }
        // What changes something is judged by the catalogue as it is, not as it was.
        let age = if statement.effect > Effect::Read {
            Duration::ZERO
        } else {
            BELIEVED
        };
        let catalogue = self.fresh(postgres, age).await?;
        if let Some(judged) = self.remembered(&catalogue, sql).await {
            return Ok(judged);
        }
        let mut resolved = ask(postgres, &statement, &catalogue).await?;
        let mut used = catalogue;
        if resolved.unknown.is_some() {
            used = self.fresh(postgres, AGAIN).await?;
            resolved = ask(postgres, &statement, &used).await?;
        }
        if let Some(unknown) = resolved.unknown
            && resolved.statement.effect <= Effect::Write
        {
            return Err(missing(&unknown, &used));
        }
        let judged = Arc::new(resolved.statement);
        self.remember(&used, sql, &judged).await;
        Ok(judged)
    }

    /// Reads the catalogue now, and says how long that took.
    pub(super) async fn load(&self, session: &mut Session) -> Result<Duration, Refusal> {
        let began = Instant::now();
        let catalogue = read(session).await?;
        *self.state.lock().await = Some(State::new(catalogue));
        Ok(began.elapsed())
    }

    /// Forgets everything: the catalogue is being changed.
    pub(super) async fn forget(&self) {
        *self.state.lock().await = None;
    }

    /// Adds the nearest names to a refusal about a name that does not exist.
    pub(super) async fn explain(&self, refusal: Refusal, statement: &Statement) -> Refusal {
        let state = self.state.lock().await;
        let Some(catalogue) = state.as_ref().map(|state| &state.catalogue) else {
            return refusal;
        };
        let quoted = refusal.message.split('"').nth(1).map(str::to_owned);
        let plain = || refusal.message.split_whitespace().nth(1).map(str::to_owned);
        if refusal.code == Code::UnknownTable {
            let Some(name) = quoted else { return refusal };
            let hint = near_relations(catalogue, &name);
            return refusal.hint(hint);
        }
        if refusal.code == Code::UnknownColumn {
            let Some(name) = quoted.or_else(plain) else {
                return refusal;
            };
            let name = name.rsplit('.').next().unwrap_or(&name).to_owned();
            let columns = columns_of(catalogue, statement);
            let near = nearest(&name, columns.iter().map(String::as_str));
            let tables = hint(&near, "describe_table shows the columns");
            return refusal.hint(tables);
        }
        refusal
    }

    /// The catalogue, read again when it is older than `age`.
    async fn fresh(&self, postgres: &Postgres, age: Duration) -> Result<Arc<Catalogue>, Refusal> {
        let mut state = self.state.lock().await;
        if let Some(state) = state.as_ref()
            && state.read_at.elapsed() < age
        {
            return Ok(Arc::clone(&state.catalogue));
        }
        let loan = postgres.lend().await?;
        let read = read(&loan.session).await?;
        loan.give_back();
        let state = state.insert(State::new(read));
        Ok(Arc::clone(&state.catalogue))
    }

    async fn remembered(&self, catalogue: &Arc<Catalogue>, sql: &str) -> Option<Arc<Statement>> {
        let state = self.state.lock().await;
        let state = state.as_ref()?;
        let same = Arc::ptr_eq(&state.catalogue, catalogue);
        state.judged.get(sql).filter(|_| same).cloned()
    }

    async fn remember(&self, catalogue: &Arc<Catalogue>, sql: &str, judged: &Arc<Statement>) {
        let mut state = self.state.lock().await;
        let Some(state) = state.as_mut() else { return };
        if Arc::ptr_eq(&state.catalogue, catalogue) && sql.len() <= 8 * 1024 {
            if state.judged.len() >= REMEMBERED {
                state.judged.clear();
            }
            state.judged.insert(sql.to_owned(), Arc::clone(judged));
        }
    }
}

impl State {
    fn new(catalogue: Catalogue) -> Self {
        Self {
            catalogue: Arc::new(catalogue),
            read_at: Instant::now(),
            judged: HashMap::new(),
        }
    }
}

/// Resolves on the parse pool: bodies are parsed, which needs a big stack.
async fn ask(
    postgres: &Postgres,
    statement: &Arc<Statement>,
    catalogue: &Arc<Catalogue>,
) -> Result<Resolved, Refusal> {
    let statement = Arc::clone(statement);
    let catalogue = Arc::clone(catalogue);
    let trusted = postgres.settings.target.trusted.clone();
    postgres
        .parser
        .run(move || resolve(&statement, &catalogue, &trusted))
        .await
}

fn missing(unknown: &Unknown, catalogue: &Catalogue) -> Refusal {
    match unknown {
        Unknown::Relation(name) => Refusal::new(
            Code::UnknownTable,
            format!("there is no table or view `{name}`"),
        )
        .hint(near_relations(catalogue, &name.to_string()))
        .sqlstate("42P01"),
        Unknown::Function(name) => {
            let mut names: Vec<&str> = harmless().collect();
            names.extend(catalogue.by_name.keys().map(String::as_str));
            let near = nearest(&name.name, names.into_iter());
            Refusal::new(
                Code::DatabaseError,
                format!("there is no function `{name}`"),
            )
            .hint(hint(&near, "only functions of this database can be called"))
            .sqlstate("42883")
        }
    }
}

fn near_relations(catalogue: &Catalogue, name: &str) -> String {
    let names: Vec<String> = catalogue.relation_names().collect();
    let near = nearest(name, names.iter().map(String::as_str));
    hint(&near, "list_tables shows what there is")
}

fn columns_of(catalogue: &Catalogue, statement: &Statement) -> Vec<String> {
    let names = statement.reads.iter().chain(&statement.writes);
    let of = |name: &Name| {
        let oids = catalogue.relations_by_name.get(&name.name);
        let relations = oids.into_iter().flatten();
        relations
            .filter_map(|oid| catalogue.relations.get(oid))
            .flat_map(|relation| relation.columns.clone())
            .collect::<Vec<_>>()
    };
    names.flat_map(of).collect()
}

const PATH: &str = "select pg_catalog.current_schemas(false)::text[] || 'pg_catalog'::text";

const BUILT_IN: &str = "select pg_catalog.array_agg(distinct proname::text) \
    from pg_catalog.pg_proc where pronamespace = 'pg_catalog'::regnamespace and oid < 16384";

/// `BODY` stands for the body of a function that was written as statements, not as text.
const FUNCTIONS: &str = "select p.oid, n.nspname::text, p.proname::text, l.lanname::text, \
    case when l.lanname = 'sql' and e.oid is null then coalesce(BODY, p.prosrc) end, \
    p.provolatile = 'v', p.provolatile = 'i', e.extname::text, p.proargtypes::oid[], p.prorettype, \
    coalesce(p.proconfig::text ~* 'search_path=', false), \
    p.pronargs - p.pronargdefaults - (p.provariadic <> 0)::int, \
    case when p.provariadic = 0 then p.pronargs::int end, \
    case when e.oid is null then pg_catalog.pg_get_expr(p.proargdefaults, 0) end \
    from pg_catalog.pg_proc p \
    join pg_catalog.pg_namespace n on n.oid = p.pronamespace \
    join pg_catalog.pg_language l on l.oid = p.prolang \
    left join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_proc'::regclass \
        and d.objid = p.oid and d.deptype = 'e' \
    left join pg_catalog.pg_extension e on e.oid = d.refobjid \
    where p.oid >= 16384 or n.nspname = 'information_schema'";

const AGGREGATES: &str = "select a.aggfnoid::oid, p.oid, p.proname::text \
    from pg_catalog.pg_aggregate a cross join lateral pg_catalog.unnest(array[a.aggtransfn, \
    a.aggfinalfn, a.aggcombinefn, a.aggserialfn, a.aggdeserialfn, a.aggmtransfn, \
    a.aggminvtransfn, a.aggmfinalfn]::oid[]) part(oid) \
    join pg_catalog.pg_proc p on p.oid = part.oid where a.aggfnoid::oid >= 16384";

const OPERATORS: &str = "select n.nspname::text, o.oprname::text, \
    array[o.oprleft, o.oprright], p.oid, p.proname::text \
    from pg_catalog.pg_operator o join pg_catalog.pg_namespace n on n.oid = o.oprnamespace \
    join pg_catalog.pg_proc p on p.oid = o.oprcode where o.oid >= 16384";

const CASTS: &str = "select c.castsource, c.casttarget, p.oid, p.proname::text \
    from pg_catalog.pg_cast c join pg_catalog.pg_proc p on p.oid = c.castfunc \
    where c.oid >= 16384";

const TYPES: &str = "select t.oid, n.nspname::text, t.typname::text, \
    array[t.typbasetype, t.typelem] || array(select r.rngsubtype from pg_catalog.pg_range r \
        where r.rngtypid = t.oid) || array(select a.atttypid from pg_catalog.pg_attribute a \
        where a.attrelid = t.typrelid and t.typrelid <> 0 and a.attnum > 0 \
        and not a.attisdropped), \
    array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = t.typrelid \
        and t.typrelid <> 0 and a.attnum > 0 and not a.attisdropped), \
    array(select pg_catalog.pg_get_expr(k.conbin, 0) from pg_catalog.pg_constraint k \
        where k.contypid = t.oid and k.conbin is not null) \
    from pg_catalog.pg_type t join pg_catalog.pg_namespace n on n.oid = t.typnamespace \
    where t.oid >= 16384 and n.nspname !~ '^pg_toast'";

const RELATIONS: &str = "select c.oid, n.nspname::text, c.relname::text, c.relkind::text, \
    case when c.relkind = 'v' then pg_catalog.pg_get_viewdef(c.oid) end, \
    array(select pg_catalog.pg_get_ruledef(r.oid) from pg_catalog.pg_rewrite r \
        where r.ev_class = c.oid and r.ev_type <> '1'), \
    array(select x from pg_catalog.pg_policy p cross join lateral pg_catalog.unnest(array[ \
        pg_catalog.pg_get_expr(p.polqual, p.polrelid), \
        pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid)]) x \
        where p.polrelid = c.oid and c.relrowsecurity and x is not null), \
    c.reltype, \
    array(select a.attname::text from pg_catalog.pg_attribute a where a.attrelid = c.oid \
        and a.attnum > 0 and not a.attisdropped order by a.attnum), \
    array(select i.inhrelid from pg_catalog.pg_inherits i where i.inhparent = c.oid), \
    array(select g.tgname::text from pg_catalog.pg_trigger g where g.tgrelid = c.oid \
        and not g.tgisinternal and g.tgenabled <> 'D' order by 1), \
    array(select pg_catalog.pg_get_expr(f.adbin, f.adrelid) from pg_catalog.pg_attrdef f \
        where f.adrelid = c.oid and pg_catalog.pg_get_expr(f.adbin, f.adrelid) ~ '\\(' \
        and pg_catalog.pg_get_expr(f.adbin, f.adrelid) !~ '^nextval[(]''[^'']*''::regclass[)]$' order by f.adnum), \
    array(select k.conrelid from pg_catalog.pg_constraint k where k.confrelid = c.oid \
        and k.contype = 'f' and (k.confdeltype in ('c', 'n', 'd') or k.confupdtype in ('c', 'n', 'd')) \
        order by 1) \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') \
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'";

/// Reads the catalogue with fixed statements, all in one flight.
async fn read(session: &Session) -> Result<Catalogue, Refusal> {
    let client = &session.client;
    let functions = FUNCTIONS.replace(
        "BODY",
        if session.has_sql_bodies() {
            "pg_catalog.pg_get_function_sqlbody(p.oid)"
        } else {
            "null"
        },
    );
    let (path, built_in, functions, aggregates, operators, casts, types, relations) = futures::join!(
        client.query_typed(PATH, &[]),
        client.query_typed(BUILT_IN, &[]),
        client.query_typed(&functions, &[]),
        client.query_typed(AGGREGATES, &[]),
        client.query_typed(OPERATORS, &[]),
        client.query_typed(CASTS, &[]),
        client.query_typed(TYPES, &[]),
        client.query_typed(RELATIONS, &[]),
    );
    let assemble = || -> Result<Catalogue, Error> {
        let mut catalogue = Catalogue {
            search_path: first(&path?)?,
            built_in: first::<Vec<String>>(&built_in?)?.into_iter().collect(),
            functions: keyed(&functions?, function)?,
            operators: each(&operators?, operator)?,
            casts: each(&casts?, cast)?,
            types: keyed(&types?, kind)?,
            relations: keyed(&relations?, relation)?,
            ..Catalogue::default()
        };
        for row in &aggregates? {
            let of: u32 = row.try_get(0)?;
            if let Some(function) = catalogue.functions.get_mut(&of) {
                function.parts.push((row.try_get(1)?, row.try_get(2)?));
            }
        }
        catalogue.index();
        Ok(catalogue)
    };
    assemble().map_err(|error| errors::refusal(&error))
}

fn first<T>(rows: &[Row]) -> Result<T, Error>
where
    T: for<'a> tokio_postgres::types::FromSql<'a> + Default,
{
    rows.first()
        .map_or_else(|| Ok(T::default()), |row| row.try_get(0))
}

fn each<T>(rows: &[Row], read: impl Fn(&Row) -> Result<T, Error>) -> Result<Vec<T>, Error> {
    rows.iter().map(read).collect()
}

fn keyed<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, Error>,
) -> Result<HashMap<u32, T>, Error> {
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, read(row)?)))
        .collect()
}

fn function(row: &Row) -> Result<Function, Error> {
    Ok(Function {
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        language: row.try_get(3)?,
        body: row.try_get(4)?,
        volatile: row.try_get(5)?,
        immutable: row.try_get(6)?,
        extension: row.try_get(7)?,
        arguments: row.try_get(8)?,
        result: row.try_get(9)?,
        own_path: row.try_get(10)?,
        fewest: usize::try_from(row.try_get::<_, i32>(11)?).unwrap_or_default(),
        most: row
            .try_get::<_, Option<i32>>(12)?
            .and_then(|most| usize::try_from(most).ok()),
        defaults: row.try_get(13)?,
        parts: Vec::new(),
    })
}

fn operator(row: &Row) -> Result<Operator, Error> {
    Ok(Operator {
        schema: row.try_get(0)?,
        name: row.try_get(1)?,
        operands: row.try_get(2)?,
        function: (row.try_get(3)?, row.try_get(4)?),
    })
}

fn cast(row: &Row) -> Result<Cast, Error> {
    Ok(Cast {
        source: row.try_get(0)?,
        target: row.try_get(1)?,
        function: (row.try_get(2)?, row.try_get(3)?),
    })
}

fn kind(row: &Row) -> Result<Type, Error> {
    Ok(Type {
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        parts: row.try_get(3)?,
        fields: row.try_get(4)?,
        checks: row.try_get(5)?,
    })
}

fn relation(row: &Row) -> Result<Relation, Error> {
    let kind: String = row.try_get(3)?;
    Ok(Relation {
        schema: row.try_get(1)?,
        name: row.try_get(2)?,
        kind: kind.chars().next().unwrap_or('r'),
        definition: row.try_get(4)?,
        rules: row.try_get(5)?,
        policies: row.try_get(6)?,
        row_type: row.try_get(7)?,
        columns: row.try_get(8)?,
        children: row.try_get(9)?,
        triggers: row.try_get(10)?,
        defaults: row.try_get(11)?,
        cascades: row.try_get(12)?,
    })
}
