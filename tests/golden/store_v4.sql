BEGIN TRANSACTION;
CREATE TABLE "_sqlite_migrations" (
   "id" INTEGER PRIMARY KEY,
   "migration_set" TEXT,
   "name" TEXT,
   "applied_at" TEXT
);
INSERT INTO "_sqlite_migrations" VALUES(1,'trajstore','m001_trajectories_steps_vectors_decisions','2026-11-21 17:32:19.095601+00:00');
INSERT INTO "_sqlite_migrations" VALUES(2,'trajstore','m002_what_guidance_did_and_how_it_ended','2026-11-21 17:32:19.097086+00:00');
INSERT INTO "_sqlite_migrations" VALUES(3,'trajstore','m003_training_jobs','2026-11-21 17:32:19.097483+00:00');
INSERT INTO "_sqlite_migrations" VALUES(4,'trajstore','m004_checksums_of_rows','2026-11-21 17:32:19.115093+00:00');
CREATE TABLE artifacts (
        name TEXT PRIMARY KEY, key TEXT NOT NULL, content BLOB NOT NULL
    , checksum TEXT NOT NULL DEFAULT '');
INSERT INTO "artifacts" VALUES('index/tenant','key',X'00FF','82798fed74195b9c');
CREATE TABLE calls (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, namespace TEXT NOT NULL, episode TEXT NOT NULL, tool TEXT NOT NULL,
        failed INTEGER NOT NULL, called_at REAL NOT NULL
    , checksum TEXT NOT NULL DEFAULT '');
INSERT INTO "calls" VALUES(1,'tenant','e1','search',1,3.0,'4ea41dd6284c1ef4');
CREATE TABLE counters (
        namespace TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, PRIMARY KEY (namespace, name)
    );
INSERT INTO "counters" VALUES('tenant','episodes gave up',1);
INSERT INTO "counters" VALUES('tenant','reports applied',1);
CREATE TABLE decisions (
        id TEXT PRIMARY KEY, episode TEXT NOT NULL, step_index INTEGER NOT NULL, namespace TEXT NOT NULL,
        created_at REAL NOT NULL, source TEXT NOT NULL, tool TEXT, args TEXT, propensity REAL NOT NULL,
        ranked TEXT NOT NULL, pruned TEXT NOT NULL, evidence TEXT NOT NULL, reason TEXT NOT NULL
    , mode TEXT NOT NULL DEFAULT 'suggest', arm TEXT NOT NULL DEFAULT 'guided', policy TEXT NOT NULL DEFAULT '', cluster INTEGER NOT NULL DEFAULT -1, probabilities TEXT NOT NULL DEFAULT '{}', checksum TEXT NOT NULL DEFAULT '');
INSERT INTO "decisions" VALUES('d1','e1',0,'tenant',1.0,'defer',NULL,NULL,0.5,'[]','[]','[]','too little evidence','suggest','guided','',-1,'{}','1c6e21ea7c257dde');
CREATE TABLE embedders (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, dimension INTEGER NOT NULL, fingerprint TEXT NOT NULL UNIQUE
    );
INSERT INTO "embedders" VALUES(1,'three words',3,'three-words-v1');
CREATE TABLE episodes (
        id TEXT PRIMARY KEY, namespace TEXT NOT NULL, trajectory_id TEXT NOT NULL, success INTEGER, reward REAL,
        kpis TEXT NOT NULL, stop_reason TEXT NOT NULL, finished_at REAL NOT NULL
    , mode TEXT NOT NULL DEFAULT 'suggest', arm TEXT NOT NULL DEFAULT 'guided', assigned REAL NOT NULL DEFAULT 1.0, task_group TEXT NOT NULL DEFAULT '', combined REAL, parts TEXT NOT NULL DEFAULT '[]', checksum TEXT NOT NULL DEFAULT '');
INSERT INTO "episodes" VALUES('e1','tenant','first',0,0.5,'{"cost_usd":0.02}','gave up',2.0,'suggest','guided',1.0,'',NULL,'[]','8a1039b931bbf373');
CREATE TABLE prunings (
        namespace TEXT NOT NULL, cluster INTEGER NOT NULL, tool TEXT NOT NULL, status TEXT NOT NULL,
        reason TEXT NOT NULL, successes REAL NOT NULL, counts REAL NOT NULL, upper REAL NOT NULL, rival TEXT NOT NULL,
        rival_lower REAL NOT NULL, since REAL NOT NULL, until REAL NOT NULL, strikes INTEGER NOT NULL, checksum TEXT NOT NULL DEFAULT '',
        PRIMARY KEY (namespace, cluster, tool)
    );
INSERT INTO "prunings" VALUES('tenant',3,'search','quarantined','fails here',0.0,9.0,0.2,'book',0.6,4.0,64.0,1,'44296eb90bc2afff');
CREATE TABLE reports (
        decision_id TEXT NOT NULL REFERENCES decisions (id) ON DELETE CASCADE, kind TEXT NOT NULL,
        value REAL NOT NULL, reported_at REAL NOT NULL, checksum TEXT NOT NULL DEFAULT '', PRIMARY KEY (decision_id, kind)
    );
INSERT INTO "reports" VALUES('d1','final',0.5,5.0,'b8919f2564d4ccb1');
CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
INSERT INTO "settings" VALUES('database_id','9522ff5b313b67dfb3cc24aee225447e');
INSERT INTO "settings" VALUES('removals','0');
INSERT INTO "settings" VALUES('revisions','0');
CREATE TABLE steps (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        trajectory_seq INTEGER NOT NULL REFERENCES trajectories (seq) ON DELETE CASCADE,
        step_index INTEGER NOT NULL, tool TEXT NOT NULL, state TEXT NOT NULL, args TEXT NOT NULL,
        observation TEXT NOT NULL, outcome TEXT NOT NULL, error TEXT, reward REAL, kind TEXT NOT NULL,
        latency_seconds REAL, cost_usd REAL, tokens INTEGER, candidates TEXT NOT NULL, propensity REAL,
        decision_id TEXT, UNIQUE (trajectory_seq, step_index)
    );
INSERT INTO "steps" VALUES(1,1,2,'search','','{"":"","where":{"to":"Zürich","via":[1,2.5,null,true]}}','It''s 💩','tool_error','',-0.25,'verification',0.5,0.001,12,'[["search",{"a":1},"search 1"],["book",{},""]]',0.75,'d1');
INSERT INTO "steps" VALUES(2,1,7,'book','','{}','','unknown',NULL,NULL,'tool',NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "steps" VALUES(3,2,0,'search','','{"query":"q0"}','found','ok',NULL,NULL,'tool',NULL,NULL,NULL,'',NULL,NULL);
INSERT INTO "steps" VALUES(4,2,1,'book','','{"query":"q1"}','found','ok',NULL,NULL,'tool',NULL,NULL,NULL,'',NULL,NULL);
CREATE TABLE training_jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, agent_id TEXT NOT NULL, config TEXT NOT NULL,
        training_data TEXT NOT NULL, idempotency_key TEXT UNIQUE, request_hash TEXT NOT NULL, status TEXT NOT NULL,
        progress REAL NOT NULL, furthest REAL NOT NULL, metrics TEXT NOT NULL, best_checkpoint TEXT,
        reason TEXT NOT NULL, is_cancelling INTEGER NOT NULL, resumes INTEGER NOT NULL, owner TEXT NOT NULL,
        lease_until REAL NOT NULL, created_at REAL NOT NULL, started_at REAL, finished_at REAL
    );
CREATE TABLE training_metrics (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES training_jobs (id) ON DELETE CASCADE,
        reported_at REAL NOT NULL, progress REAL NOT NULL, metrics TEXT NOT NULL
    );
CREATE TABLE trajectories (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, content_hash TEXT NOT NULL,
        namespace TEXT NOT NULL, task_text TEXT NOT NULL, task_id TEXT NOT NULL, task_group TEXT NOT NULL,
        family TEXT NOT NULL, success INTEGER, reward REAL, kpis TEXT NOT NULL, agent TEXT NOT NULL,
        source TEXT NOT NULL, judge TEXT NOT NULL, trust REAL NOT NULL, stop_reason TEXT NOT NULL,
        created_at REAL NOT NULL, metadata TEXT NOT NULL, checksum TEXT NOT NULL DEFAULT '', UNIQUE (namespace, content_hash)
    );
INSERT INTO "trajectories" VALUES(1,'first','25c11fc6a7a3777a1069826efcc8532f','tenant','Réserve un vol 🛫','t1','g1','f1',0,0.5,'{"cost_usd":0.02,"turns":3}','agent','logs','llm',0.25,'gave up',1700000000.5,'{"nested":{"list":[[],{}]}}','739580e42c96875b');
INSERT INTO "trajectories" VALUES(2,'second','adb5eeab316d73e8250bddc2805da22e','default','find it','','','',NULL,1.0,'{}','','','environment',1.0,'',2.0,'{}','9ec7fc22c3c2e602');
CREATE TABLE vectors (
        embedder_id INTEGER NOT NULL REFERENCES embedders (id) ON DELETE CASCADE,
        text_hash BLOB NOT NULL, vector BLOB NOT NULL, checksum TEXT NOT NULL DEFAULT '', PRIMARY KEY (text_hash, embedder_id)
    );
INSERT INTO "vectors" VALUES(1,X'30313233343536373839616263646566',X'003800BC0034','e53d8767fb903d50');
CREATE UNIQUE INDEX "idx__sqlite_migrations_migration_set_name"
    ON "_sqlite_migrations" ("migration_set", "name");
CREATE INDEX trajectories_source ON trajectories (source);
CREATE INDEX steps_tool ON steps (tool);
CREATE INDEX decisions_episode ON decisions (episode);
CREATE INDEX decisions_namespace ON decisions (namespace, created_at);
CREATE INDEX episodes_namespace ON episodes (namespace, finished_at);
CREATE INDEX calls_namespace ON calls (namespace, seq);
CREATE INDEX training_jobs_status ON training_jobs (status, seq);
CREATE INDEX training_metrics_job ON training_metrics (job_id, seq);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('trajectories',2);
INSERT INTO "sqlite_sequence" VALUES('steps',4);
INSERT INTO "sqlite_sequence" VALUES('calls',1);
COMMIT;
PRAGMA application_id = 1953655411;
PRAGMA user_version = 4;
