//! What the database holds, read with fixed statements whose values are bound.

use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use super::errors;
use super::nearest::{hint, nearest};
use super::session::Session;
use crate::core::refusal::{Code, Refusal};
use crate::core::schema::{
    ColumnDescription, ForeignKey, IndexDescription, TableDescription, TableSummary,
};

/// Relations that the login can see; $1 a schema or null, $2 part of a name or comment or null.
const LIST: &str = "select case when pg_catalog.pg_table_is_visible(c.oid) then c.relname \
        else n.nspname || '.' || c.relname end as name, \
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' \
        when 'f' then 'foreign table' when 'S' then 'sequence' else 'table' end as kind, \
    case when c.reltuples >= 0 and c.relkind in ('r', 'm', 'p') then c.reltuples::int8 end as rows, \
    pg_catalog.obj_description(c.oid, 'pg_class') as comment \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and not c.relispartition \
    and n.nspname !~ '^pg_' and n.nspname <> 'information_schema' \
    and pg_catalog.has_schema_privilege(n.oid, 'usage') \
    and case when c.relkind = 'S' then pg_catalog.has_sequence_privilege(c.oid, 'select') \
        else pg_catalog.has_any_column_privilege(c.oid, 'select, insert, update') end \
    and ($1::text is null or n.nspname = $1) \
    and ($2::text is null or pg_catalog.strpos(lower(c.relname), lower($2)) > 0 \
        or pg_catalog.strpos(lower(pg_catalog.obj_description(c.oid, 'pg_class')), lower($2)) > 0) \
    order by 1";

/// One relation by its schema ($1, or null for those on the search path) and name ($2).
const FIND: &str = "select c.oid, case when pg_catalog.pg_table_is_visible(c.oid) then c.relname \
        else n.nspname || '.' || c.relname end as name, \
    case c.relkind when 'v' then 'view' when 'm' then 'materialized view' \
        when 'f' then 'foreign table' when 'S' then 'sequence' else 'table' end as kind, \
    case when c.reltuples >= 0 and c.relkind in ('r', 'm', 'p') then c.reltuples::int8 end as rows, \
    pg_catalog.obj_description(c.oid, 'pg_class') as comment \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S') and c.relname = $2 \
    and (n.nspname = $1 or $1::text is null and pg_catalog.pg_table_is_visible(c.oid)) limit 1";

const COLUMNS: &str = "select a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
    not a.attnotnull, pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
    pg_catalog.col_description(a.attrelid, a.attnum) \
    from pg_catalog.pg_attribute a \
    left join pg_catalog.pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum \
    where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum";

const INDEXES: &str = "select c.relname, i.indisprimary, i.indisunique, \
    pg_catalog.pg_get_expr(i.indpred, i.indrelid), \
    array(select pg_catalog.pg_get_indexdef(i.indexrelid, n, true) \
        from pg_catalog.generate_series(1, i.indnkeyatts) n) \
    from pg_catalog.pg_index i join pg_catalog.pg_class c on c.oid = i.indexrelid \
    where i.indrelid = $1 order by c.relname";

/// Foreign keys from the table, then those to it: `$2` says which.
const KEYS: &str = "select \
    array(select a.attname from pg_catalog.unnest(case when $2 then k.conkey else k.confkey end) \
        with ordinality u(n, o) join pg_catalog.pg_attribute a on a.attnum = u.n \
        and a.attrelid = $1 order by o)::text[], \
    case when pg_catalog.pg_table_is_visible(c.oid) then c.relname \
        else n.nspname || '.' || c.relname end, \
    array(select a.attname from pg_catalog.unnest(case when $2 then k.confkey else k.conkey end) \
        with ordinality u(n, o) join pg_catalog.pg_attribute a on a.attnum = u.n \
        and a.attrelid = c.oid order by o)::text[], \
    case k.confdeltype when 'r' then 'restrict' when 'c' then 'cascade' \
        when 'n' then 'set null' when 'd' then 'set default' end \
    from pg_catalog.pg_constraint k \
    join pg_catalog.pg_class c on c.oid = case when $2 then k.confrelid else k.conrelid end \
    join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where k.contype = 'f' and case when $2 then k.conrelid else k.confrelid end = $1 \
    and k.conparentid = 0 order by k.conname";

/// Whether there is a column of pgvector's types that the login can read.
const VECTORS: &str = "select exists (select from pg_catalog.pg_attribute a \
    join pg_catalog.pg_class c on c.oid = a.attrelid join pg_catalog.pg_type t on t.oid = a.atttypid \
    join pg_catalog.pg_depend d on d.classid = 'pg_catalog.pg_type'::regclass and d.objid = t.oid \
        and d.deptype = 'e' join pg_catalog.pg_extension e on e.oid = d.refobjid \
    where e.extname = 'vector' and t.typname in ('vector', 'halfvec') \
    and c.relkind in ('r', 'p', 'v', 'm', 'f') and a.attnum > 0 and not a.attisdropped \
    and pg_catalog.has_schema_privilege(c.relnamespace, 'usage') \
    and pg_catalog.has_column_privilege(c.oid, a.attnum, 'select'))";

/// Whether the login can read any column that holds vectors.
pub(super) async fn have_vectors(session: &Session) -> Result<bool, Refusal> {
    let rows = ask(session, VECTORS, &[]).await?;
    let found = rows.first().map(|row| row.try_get(0)).transpose();
    found
        .map(Option::unwrap_or_default)
        .map_err(|error| errors::refusal(&error))
}

/// The relations that the login can see.
pub(super) async fn list(
    session: &Session,
    schema: Option<&str>,
    search: Option<&str>,
) -> Result<Vec<TableSummary>, Refusal> {
    let rows = ask(session, LIST, &[&schema, &search]).await?;
    rows.iter()
        .map(|row| {
            Ok(TableSummary {
                name: row.try_get(0)?,
                kind: row.try_get(1)?,
                rows_estimate: row
                    .try_get::<_, Option<i64>>(2)?
                    .and_then(|n| n.try_into().ok()),
                comment: row.try_get(3)?,
            })
        })
        .collect::<Result<_, _>>()
        .map_err(|error| errors::refusal(&error))
}

/// One relation, by its name or `schema.name`.
pub(super) async fn describe(session: &Session, table: &str) -> Result<TableDescription, Refusal> {
    let plain = table.replace('"', "");
    let (schema, name) = match plain.split_once('.') {
        Some((schema, name)) => (Some(schema), name),
        None => (None, plain.as_str()),
    };
    let mut found = ask(session, FIND, &[&schema, &name]).await?;
    if found.is_empty() {
        found = ask(
            session,
            FIND,
            &[&schema.map(str::to_lowercase), &name.to_lowercase()],
        )
        .await?;
    }
    let Some(row) = found.first() else {
        return Err(unknown(session, table).await);
    };
    let failed = |error| errors::refusal(&error);
    let mut described = head(row).map_err(failed)?;
    let oid: u32 = row.try_get(0).map_err(failed)?;
    let (of_table, from_table, to_table) = (
        [&oid as _],
        [&oid as _, &true as _],
        [&oid as _, &false as _],
    );
    let (columns, indexes, keys, others) = futures::join!(
        ask(session, COLUMNS, &of_table),
        ask(session, INDEXES, &of_table),
        ask(session, KEYS, &from_table),
        ask(session, KEYS, &to_table),
    );
    described.columns = each(&columns?, column).map_err(failed)?;
    described.foreign_keys = each(&keys?, key).map_err(failed)?;
    described.referenced_by = each(&others?, key).map_err(failed)?;
    for row in &indexes? {
        let (primary, index) = index(row).map_err(failed)?;
        if primary {
            described.primary_key = index.columns;
        } else {
            described.indexes.push(index);
        }
    }
    Ok(described)
}

type Read<T> = Result<T, tokio_postgres::Error>;

fn each<T>(rows: &[Row], read: impl Fn(&Row) -> Read<T>) -> Read<Vec<T>> {
    rows.iter().map(read).collect()
}

fn head(row: &Row) -> Read<TableDescription> {
    Ok(TableDescription {
        name: row.try_get(1)?,
        kind: row.try_get(2)?,
        rows_estimate: row
            .try_get::<_, Option<i64>>(3)?
            .and_then(|n| n.try_into().ok()),
        comment: row.try_get(4)?,
        ..TableDescription::default()
    })
}

fn column(row: &Row) -> Read<ColumnDescription> {
    Ok(ColumnDescription {
        name: row.try_get(0)?,
        type_name: row.try_get(1)?,
        nullable: row.try_get(2)?,
        default: row.try_get(3)?,
        comment: row.try_get(4)?,
    })
}

fn index(row: &Row) -> Read<(bool, IndexDescription)> {
    Ok((
        row.try_get(1)?,
        IndexDescription {
            name: row.try_get(0)?,
            unique: row.try_get(2)?,
            condition: row.try_get(3)?,
            columns: row.try_get(4)?,
        },
    ))
}

fn key(row: &Row) -> Read<ForeignKey> {
    Ok(ForeignKey {
        columns: row.try_get(0)?,
        table: row.try_get(1)?,
        other_columns: row.try_get(2)?,
        on_delete: row.try_get(3)?,
    })
}

async fn unknown(session: &Session, table: &str) -> Refusal {
    let tables = list(session, None, None).await.unwrap_or_default();
    let near = nearest(table, tables.iter().map(|t| t.name.as_str()));
    Refusal::new(
        Code::UnknownTable,
        format!("there is no table or view `{table}`"),
    )
    .hint(hint(&near, "list_tables shows what there is"))
}

async fn ask(
    session: &Session,
    sql: &str,
    params: &[&(dyn ToSql + Sync)],
) -> Result<Vec<Row>, Refusal> {
    session
        .client
        .query(sql, params)
        .await
        .map_err(|error| errors::refusal(&error))
}
