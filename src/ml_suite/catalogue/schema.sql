-- large texts come last: a list reads only the pages before them
create table if not exists entries (
    collection text not null,
    key text not null,
    uuid text,
    created text not null,
    updated text not null,
    summary text not null,
    record text not null,
    original text not null,
    primary key (collection, key)
);
create index if not exists entries_uuid on entries (uuid);

-- values that lists are filtered by
create table if not exists fields (
    collection text not null,
    key text not null,
    field text not null,
    value text,
    primary key (collection, key, field),
    foreign key (collection, key) references entries (collection, key) on delete cascade
) without rowid;
create index if not exists fields_value on fields (collection, field, value);

-- what each entry is known by (role self) and refers to (role input or output)
create table if not exists links (
    owner text not null,
    key text not null,
    role text not null,
    collection text not null,
    by text not null,
    value text not null,
    label text not null,
    foreign key (owner, key) references entries (collection, key) on delete cascade
);
create index if not exists links_owner on links (owner, key);
create index if not exists links_value on links (value, collection, by, role);

create table if not exists audit (
    id integer primary key,
    time text not null,
    method text not null,
    collection text not null,
    key text not null,
    user text not null,
    host text not null,
    pid text not null,
    version text not null,
    change text not null
);
create index if not exists audit_entry on audit (collection, key);

create table if not exists history (
    uuid text primary key,
    finished text not null,
    user text not null,
    host text not null,
    record text not null
);

-- names of unregistered entries: a broken link can say what it pointed to
create table if not exists tombstones (
    collection text not null,
    uuid text not null,
    key text not null,
    removed text not null,
    user text not null,
    primary key (collection, uuid)
);
