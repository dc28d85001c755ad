-- The catalogue. Ids are UUIDs of version 7, so that the primary key is also the order of creation and the only index a page needs.
-- The checks hold for ever (no price below zero, no product without a name). Limits that a release may move, such as the
-- longest name, are the program's alone: migrations only add, and a tighter check could never be taken back.
CREATE TABLE products (
    id uuid PRIMARY KEY,
    name text NOT NULL CHECK (name <> ''),
    description text NOT NULL,
    -- In minor units of the currency (cents for EUR).
    price_amount bigint NOT NULL CHECK (price_amount >= 0),
    -- An ISO 4217 alphabetic code.
    price_currency text NOT NULL CHECK (price_currency ~ '^[A-Z]{3}$'),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
