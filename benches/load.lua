-- For wrk: the body to post, a number of requests to stop at, several paths in turn, and a report that a program reads.

local post, limit, paths = os.getenv("BENCH_POST"), tonumber(os.getenv("BENCH_REQUESTS")), os.getenv("BENCH_PATHS")

if post then
   wrk.method = "POST"
   wrk.body = string.rep("x", tonumber(post))
end

if paths then
   local turn, requests = 0, {}
   function init(args)
      for path in string.gmatch(paths, "%S+") do requests[#requests + 1] = wrk.format(nil, path) end
   end
   function request()
      turn = turn % #requests + 1
      return requests[turn]
   end
end

if limit then
   local answers = 0
   function response()
      answers = answers + 1
      if answers == limit then wrk.thread:stop() end
   end
end

function done(summary, latency)
   local e = summary.errors
   io.write(string.format("REPORT %d %d %d %d %d %d\n", summary.requests, summary.duration,
      latency:percentile(50), latency:percentile(99), e.connect + e.read + e.write + e.timeout, e.status))
end
