-- The same POST again and again, as the dispatcher sent it: wrk's argument names the file that holds it.
local whole

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   whole = file:read("*a")
   file:close()
end

function request()
   return whole
end
