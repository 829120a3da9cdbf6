-- SPDX-License-Identifier: GPL-3.0-or-later
-- Functions, procedures, triggers, rules, views and materialized views; then statements that make them work.

CREATE FUNCTION shop.gross(amount numeric, rate numeric DEFAULT 0.19) RETURNS numeric
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT round(amount * (1 + rate), 2) $$;

CREATE FUNCTION shop.count_orders(VARIADIC states shop.order_state[]) RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path = shop, pg_temp
    AS $$
BEGIN
    RETURN (SELECT count(*) FROM "order" WHERE state = ANY (states));
END
$$;

CREATE FUNCTION shop."returns ""rows"""(minimum numeric, OUT product text, OUT price numeric) RETURNS SETOF record
    LANGUAGE sql STABLE ROWS 10
    AS $$ SELECT p.name, p.price::numeric FROM shop.product AS p WHERE p.price >= minimum $$;

CREATE PROCEDURE shop.close_order(order_id bigint)
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE shop."order" SET state = 'sent' WHERE id = order_id;
END
$$;

-- Each of these acts twice when it fires on the target as well.
CREATE FUNCTION shop.audit_line() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO shop.audit (what, order_id, amount)
    VALUES (TG_OP, COALESCE(NEW.order_id, OLD.order_id), COALESCE(NEW.amount, OLD.amount));
    RETURN NULL;
END
$$;
CREATE FUNCTION shop.add_to_total() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP <> 'INSERT' THEN
        UPDATE shop."order" SET total = total - OLD.amount WHERE id = OLD.order_id;
    END IF;
    IF TG_OP <> 'DELETE' THEN
        UPDATE shop."order" SET total = total + NEW.amount WHERE id = NEW.order_id;
    END IF;
    RETURN NULL;
END
$$;
CREATE FUNCTION shop.next_revision() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.revision := OLD.revision + 1;
    RETURN NEW;
END
$$;

CREATE TRIGGER audit_line
    AFTER INSERT OR UPDATE OR DELETE ON shop.order_line
    FOR EACH ROW EXECUTE FUNCTION shop.audit_line();
CREATE TRIGGER "add ""to"" total"
    AFTER INSERT OR UPDATE OF amount, order_id OR DELETE ON shop.order_line
    FOR EACH ROW EXECUTE FUNCTION shop.add_to_total();
CREATE TRIGGER next_revision
    BEFORE UPDATE ON shop.document
    FOR EACH ROW WHEN (OLD.title IS DISTINCT FROM NEW.title) EXECUTE FUNCTION shop.next_revision();
CREATE CONSTRAINT TRIGGER audit_event
    AFTER DELETE ON shop.legacy
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION shop.audit_line();
CREATE TRIGGER disabled_one
    BEFORE UPDATE ON shop.customer
    FOR EACH ROW EXECUTE FUNCTION shop.next_revision();
ALTER TABLE shop.customer DISABLE TRIGGER disabled_one;

CREATE RULE price_change AS
    ON UPDATE TO shop.product
    WHERE OLD.price <> NEW.price
    DO ALSO INSERT INTO shop.price_change (product_id, old_price, new_price) VALUES (OLD.id, OLD.price, NEW.price);

CREATE VIEW shop.open_order AS
    SELECT id, customer_id, total FROM shop."order" WHERE state = 'new'
    WITH LOCAL CHECK OPTION;
CREATE VIEW shop.secret_customer WITH (security_barrier = true) AS
    SELECT c.id, c.name, (c.contact).home AS home FROM shop.customer AS c;
CREATE VIEW shop.short_customer AS SELECT id, name FROM shop.customer;
CREATE RULE "insert ""instead""" AS
    ON INSERT TO shop.short_customer
    DO INSTEAD INSERT INTO shop.customer (name) VALUES (NEW.name) RETURNING id, name;
CREATE RECURSIVE VIEW shop.category_path (id, path) AS
    SELECT id, name FROM shop.category WHERE parent_id IS NULL
    UNION ALL
    SELECT c.id, p.path || ' > ' || c.name FROM shop.category AS c JOIN category_path AS p ON p.id = c.parent_id;

-- Each builds on the one before; names run against the order in which they must be refreshed.
CREATE MATERIALIZED VIEW shop.z_sales AS
    SELECT product_id, sum(quantity) AS quantity, sum(amount) AS amount FROM shop.order_line GROUP BY product_id;
CREATE UNIQUE INDEX z_sales_product ON shop.z_sales (product_id);
CREATE MATERIALIZED VIEW shop.m_top_sales AS
    SELECT s.*, p.name FROM shop.z_sales AS s JOIN shop.product AS p ON p.id = s.product_id WHERE s.amount > 100;
CREATE MATERIALIZED VIEW shop.a_summary AS
    SELECT count(*) AS products, max(amount) AS best FROM shop.m_top_sales;
CREATE MATERIALIZED VIEW shop.never_populated AS
    SELECT * FROM shop.a_summary
    WITH NO DATA;

-- Make triggers, rule and sequences work once.
INSERT INTO shop.order_line (order_id, line, product_id, quantity, amount)
SELECT i, 9, 1000 + i, 1, 9.99 FROM generate_series(1, 100) AS i;
UPDATE shop.order_line SET amount = amount + 1 WHERE order_id BETWEEN 1 AND 50 AND line = 9;
DELETE FROM shop.order_line WHERE order_id BETWEEN 1 AND 20 AND line = 9;
UPDATE shop.product SET price = price + 1 WHERE id BETWEEN 1000 AND 1020;
UPDATE shop.document SET title = title || ', changed' WHERE id <= 5;
INSERT INTO shop.short_customer (name) VALUES ('through a rule');
CALL shop.close_order(3);

REFRESH MATERIALIZED VIEW shop.z_sales;
REFRESH MATERIALIZED VIEW shop.m_top_sales;
REFRESH MATERIALIZED VIEW shop.a_summary;
