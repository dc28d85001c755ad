-- Orders and their items. An order and all its items are written in one transaction, so neither exists without the other.
-- The checks hold for ever. Limits that a release may move, such as the most items of an order, are the program's alone:
-- migrations only add, and a tighter check could never be taken back. For the same reason `status` has no list of values.
CREATE TABLE orders (
    -- A UUID of version 7: its order is the order of creation.
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL,
    status text NOT NULL CHECK (status <> ''),
    -- An ISO 4217 alphabetic code, the same for every item.
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    -- In minor units of the currency (cents for EUR).
    total_amount bigint NOT NULL CHECK (total_amount >= 0),
    -- Null when the client sent none; nulls are never equal, so such orders do not meet in the constraint below.
    idempotency_key text CHECK (idempotency_key <> ''),
    created_at timestamptz NOT NULL DEFAULT now(),
    -- What makes a second order under one key impossible: docs/decisions/0005-idempotent-orders.md.
    CONSTRAINT orders_one_per_idempotency_key UNIQUE (user_id, idempotency_key)
);

-- Serves the pages of a user's own orders.
CREATE INDEX orders_of_user ON orders (user_id, id);

CREATE TABLE order_items (
    order_id uuid NOT NULL REFERENCES orders,
    -- From 1, in the order of the request.
    position bigint NOT NULL CHECK (position >= 1),
    -- A product of another service's database, hence no foreign key.
    product_id uuid NOT NULL,
    quantity integer NOT NULL CHECK (quantity >= 1),
    -- The price paid for one piece, in minor units of the order's currency.
    unit_amount bigint NOT NULL CHECK (unit_amount >= 0),
    PRIMARY KEY (order_id, position)
);
