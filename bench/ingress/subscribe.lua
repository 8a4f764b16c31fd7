-- Each request signs up somebody new. The run's name and the thread's number keep addresses apart.
local threads = 0

function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

function init(arguments)
   run = arguments[1]
   headers = {
      ["Authorization"] = "Bearer " .. arguments[2],
      ["Content-Type"] = "application/json",
   }
   count = 0
end

function request()
   count = count + 1
   local body = string.format(
      '{"email":"w%s-%d-%d@example.com","first_name":"Maria","last_name":"Costa","city":"Lisbon"}',
      run, number, count
   )
   return wrk.format("POST", "/api/v1/subscribe", headers, body)
end
