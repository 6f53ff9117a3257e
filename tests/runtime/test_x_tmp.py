from tests.runtime.test_rag_faults import *
from tests.runtime.test_rag_faults import folder
def test_x(folder):
    with OpenAIServer(answer=careful) as server:
        cut = run(folder, server, "--max-calls", "5", "--json")
        q=lambda s: query(folder/"synth.duckdb",s)
        print("FIN",len(completed(folder)), q("select kind,step,count(*) from events group by 1,2 order by 1,2"))
        print(q("select seq,kind,step,sample_id from events where kind like 'call%' or kind like 'sample%' order by seq"))
        print(q("select min(seq),max(seq) from events where kind='retrieval.done'"))
    assert 0
