"""Scratch: load and migrate; print differences. usage: .try.py SRC TGT {super,strict,read_all} """
import sys, time, traceback, os
from tests.support.fixtures import create_database, Database
from tests.support.cluster import Cluster
from tests.support.migrations import Case
from tests.support import torture, proof
from tests.integration.test_managed_role import managed
src, tgt, who = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
STRICT = "CREATE ROLE {role} LOGIN CREATEDB CREATEROLE REPLICATION BYPASSRLS PASSWORD {password}; GRANT {groups} TO {role};"
READ_ALL = STRICT + "GRANT pg_read_all_data TO {role};"
s, t = Cluster(src), Cluster(tgt)
s.start(); t.start()
try:
    if who == "super":
        source, target = create_database(s, "torture"), create_database(t, "torture")
    else:
        recipe = STRICT if who == "strict" else READ_ALL
        source, target = managed(s, recipe if src >= 14 else STRICT, "adm"), managed(t, recipe, "adm")
    for stmt in os.environ.get("PRE","").split(";;"):
        if stmt: t.execute(stmt)
    t0 = time.time()
    from psycopg.conninfo import make_conninfo
    if who == "super":
        able = torture.load(source.dsn, target.dsn, features_of=tgt)
    else:
        able = torture.load(make_conninfo(**source.params), target.dsn, features_of=tgt)
    print("loaded", able.level, able.superuser, able.icu, f"{time.time()-t0:.1f}s")
    case = Case(source, target)
    t0 = time.time()
    opts = dict(large_objects="copy")
    for a in sys.argv[4:]:
        k, v = a.split("=", 1); opts[k] = eval(v)
    try:
        data = case.init(**opts).data
    except Exception as e:
        traceback.print_exc()
        if hasattr(e, "message"): print("CODE", e.code, "\nMSG", e.message, "\nREM", e.remedy, "\nDET", e.details)
        raise SystemExit(1)
    print(f"init {time.time()-t0:.1f}s")
    for item in data["left"]: print("LEFT", item["object"], "|", item["reason"][:160])
    t0 = time.time()
    found = proof.differences(source, target)
    print(f"compared {time.time()-t0:.1f}s", len(found))
    for line in found: print("DIFF", line)
finally:
    s.destroy(); t.destroy()
