(function(){
  var made=document.getElementById('made'),note=document.getElementById('age');
  if(!made||!note)return;
  function tell(){
    var minutes=Math.floor((Date.now()-Date.parse(made.dateTime))/60000);
    if(!(minutes>=10))return;
    var text=minutes<120?minutes+' min':minutes<2880?Math.floor(minutes/60)+' h':Math.floor(minutes/1440)+' d';
    note.textContent=' This page is '+text+' old.';
  }
  tell();setInterval(tell,60000);
})();
