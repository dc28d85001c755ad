-- Usernames are lower case (src/credentials.rs), so plain uniqueness is uniqueness for people too.
create table users (
    id            uuid        primary key,
    username      text        not null constraint users_username_is_unique unique,
    password_hash text        not null,
    role          text        not null constraint users_role_is_known check (role in ('user', 'admin')),
    created_at    timestamptz not null default now()
);
